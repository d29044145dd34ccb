// Fetches a stream for the library. Instead of breaking off when enough has been read ahead, as the library would, it
// stops reading: the server then holds its source back, and nothing has to be asked for twice.

// The name ends in the beginning of the file's SHA-256.
const LIBRARY = 'assets/mpegts-bda31748736a.js';

let libraryLoading = null;

// The library, loaded once; rejected if it cannot be.
function library() {
  libraryLoading ??= new Promise((resolve, reject) => {
    const script = make('script', { src: LIBRARY });
    script.addEventListener('load', () => {
      mpegts.LoggingControl.enableAll = false;
      resolve(mpegts);
    });
    script.addEventListener('error', () => {
      script.remove();
      libraryLoading = null;
      reject(new Problem('network'));
    });
    document.head.append(script);
  });
  return libraryLoading;
}

// What reads ahead waits in steps of so many milliseconds.
const FULL_WAIT = 250;

// A loader in the library's sense, for one stream, which is told what is found: `hooks` has
// `isHeard(sound)`, `isFull()`, `opened(aborter)`, `length(bytes)`, `contents(reader)`, `bytes(count)` and `problem(problem)`.
function loaderFor(hooks) {
  return class extends mpegts.BaseLoader {
    constructor() {
      super('fetch');
      this.aborter = new AbortController();
    }

    open(source) {
      this._status = mpegts.LoaderStatus.kConnecting;
      hooks.opened(this.aborter);
      this.run(source.url).catch((error) => {
        if (this.aborter.signal.aborted) return;
        this._status = mpegts.LoaderStatus.kError;
        hooks.problem(error instanceof Problem ? error : new Problem('network', error.message));
      });
    }

    abort() {
      this.aborter.abort();
      this._status = mpegts.LoaderStatus.kComplete;
    }

    destroy() {
      if (this.isWorking()) this.abort();
      super.destroy();
    }

    async run(url) {
      const { signal } = this.aborter;
      const response = await fetch(url, { signal, credentials: 'same-origin', cache: 'no-store' });
      if (!response.ok) throw problemOfAnswer(response);
      if (/mpegurl|m3u/i.test(response.headers.get('Content-Type') ?? '')) {
        this.abort();
        hooks.problem(new Problem('hls'));
        return;
      }
      this._status = mpegts.LoaderStatus.kBuffering;
      hooks.length(Number(response.headers.get('Content-Length')));
      await this.read(response.body.getReader(), signal);
    }

    async read(body, signal) {
      const source = window.MediaSource ?? window.ManagedMediaSource;
      const reader = new TransportReader((mime, name) => hooks.isHeard(name) && source.isTypeSupported(mime));
      let received = 0;
      let isTold = false;
      for (;;) {
        while (hooks.isFull()) {
          await new Promise((resolve) => setTimeout(resolve, FULL_WAIT));
          if (signal.aborted) return;
        }
        const { value, done } = await body.read();
        if (signal.aborted) return;
        if (done) break;
        hooks.bytes(value.length);
        const packets = reader.take(value);
        if (reader.isStrange) throw new Problem('format');
        if (reader.isKnown && !isTold) {
          isTold = true;
          hooks.contents(reader);
        }
        if (!packets.length || signal.aborted) continue;
        const chunk = packets.slice().buffer;
        this._onDataArrival(chunk, received, received + chunk.byteLength);
        received += chunk.byteLength;
      }
      this._status = mpegts.LoaderStatus.kComplete;
      if (!received) throw new Problem('empty');
      this._onComplete(0, received - 1);
    }
  };
}
