// What can go wrong, in words. A problem has a kind, and tells whether trying the same again may help.

class Problem extends Error {
  constructor(kind, detail = '') {
    super(`${kind} ${detail}`.trim());
    this.kind = kind;
    this.detail = detail;
  }

  // What the browser cannot play, it will not be able to play the next time either.
  get isFinal() {
    return ['picture', 'format', 'foreign', 'gone', 'denied', 'hls'].includes(this.kind);
  }

  get words() {
    return t('problem_' + this.kind, this.detail);
  }

  // What the words leave out: it is in English and for those who look after the server.
  get remark() {
    return TEXT['problem_' + this.kind][0].includes('{0}') ? '' : this.detail;
  }
}

// What an answer that is no stream means. The server says in a header why it refuses.
function problemOfAnswer(response) {
  const reason = response.headers.get('X-Flowgate-Error') ?? '';
  const kinds = { 401: 'denied', 403: 'denied', 404: 'gone', 501: 'gone', 503: 'busy', 502: 'upstream', 504: 'upstream' };
  return new Problem(kinds[response.status] ?? 'failed', reason || `HTTP ${response.status}`);
}

// What the element or the library says.
function problemOfMedia(error) {
  const code = error?.code;
  if (code === MediaError.MEDIA_ERR_NETWORK) return new Problem('network');
  if (code === MediaError.MEDIA_ERR_SRC_NOT_SUPPORTED) return new Problem('format', error.message);
  return new Problem('broken', error?.message ?? '');
}
