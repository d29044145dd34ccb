// The server's log: what the event stream brings, filtered and searched here.
const LOG_MAX = 2000;
const LEVELS = ['FATAL', 'ERROR', 'WARN', 'INFO', 'DEBUG', 'TRACE'];
// The interface of the server takes these.
const RECORD_LEVELS = LEVELS.slice(0, 5);

const logView = {
  lines: [],
  level: 5,
  needle: '',
  unread: 0,
  bad: 0,
  missed: 0,
  top: 0,

  start() {
    this.list = $('log-lines');
    $('log-search').addEventListener('input', (event) => {
      this.needle = event.target.value.toLowerCase();
      this.rebuild();
    });
    $('log-filter').addEventListener('change', (event) => {
      this.level = Number(event.target.value);
      this.rebuild();
    });
    $('log-level').addEventListener('change', (event) => actions.level(Number(event.target.value)));
    $('log-clear').addEventListener('click', () => actions.clearLog());
    $('log-save').addEventListener('click', () => this.save());
    $('log-more').addEventListener('click', () => this.setFollow(true));
    $('log-follow').addEventListener('change', (event) => this.setFollow(event.target.checked));
    // Scrolling up stops following, scrolling to the end takes it up again.
    this.list.addEventListener('scroll', () => this.noteScroll(), { passive: true });
    this.translate();
  },

  translate() {
    const option = (value, text) => make('option', { value: String(value) }, text);
    const filters = LEVELS.map((name, level) => option(level, level === 5 ? t('all') : t('andWorse', name)));
    $('log-filter').replaceChildren(...filters.reverse());
    $('log-filter').value = String(this.level);
    $('log-level').replaceChildren(...RECORD_LEVELS.map((name, level) => option(level, name)));
    this.showLevel();
    this.showState();
  },

  get follows() {
    return $('log-follow').checked;
  },

  setFollow(follows) {
    $('log-follow').checked = follows;
    if (follows) this.toEnd();
    this.showState();
  },

  noteScroll() {
    const { scrollTop, scrollHeight, clientHeight } = this.list;
    const wentUp = scrollTop < this.top;
    this.top = scrollTop;
    if (scrollHeight - scrollTop - clientHeight < 24) this.setFollow(true);
    else if (wentUp && this.follows) this.setFollow(false);
  },

  toEnd() {
    this.unread = 0;
    this.list.scrollTop = this.list.scrollHeight;
    this.top = this.list.scrollTop;
  },

  ingest(snapshot) {
    const { logsMode, logs = [] } = snapshot;
    if (logsMode === 'full') {
      this.lines = logs.map(logLine);
      this.bad = 0;
      this.rebuild();
    } else if (logs.length > 0) {
      const fresh = logs.map(logLine);
      this.lines.push(...fresh);
      this.lines.splice(0, this.lines.length - LOG_MAX);
      this.append(fresh);
    }
    this.missed += number(snapshot.logLinesMissed);
    $('log-lost').hidden = this.missed === 0;
    setText($('log-lost'), t('linesLost', count(this.missed)));
    this.showLevel();
  },

  // The server may run at a level that its interface cannot set, such as TRACE from the command line.
  showLevel() {
    const level = model.snapshot?.currentLogLevel;
    const select = $('log-level');
    if (level === undefined || document.activeElement === select) return;
    if (level >= select.options.length && LEVELS[level]) {
      select.append(make('option', { value: String(level), disabled: true }, LEVELS[level]));
    }
    select.value = String(level);
  },

  wants(line) {
    return line.level <= this.level && (!this.needle || line.search.includes(this.needle));
  },

  rebuild() {
    this.list.replaceChildren(...this.lines.filter((line) => this.wants(line)).map((line) => this.row(line)));
    // A shorter list moves up by itself; that is not the reader's doing.
    this.top = 0;
    if (this.follows) this.toEnd();
    this.showState();
  },

  append(fresh) {
    const wanted = fresh.filter((line) => this.wants(line));
    this.list.append(...wanted.map((line) => this.row(line)));
    while (this.list.childElementCount > LOG_MAX) this.list.firstChild.remove();
    if (this.follows && !document.hidden) this.toEnd();
    else this.unread += wanted.length;
    if ($('view-log').hidden) this.bad += fresh.filter((line) => line.level <= 2).length;
    this.showState();
  },

  row(line) {
    const text = make('span', { class: 'text' });
    text.append(...marked(line.text, this.needle));
    return make('li', { 'data-level': line.name },
      make('time', {}, clock(line.time)), make('b', {}, line.name), make('span', { class: 'from' }, line.from), text);
  },

  showState() {
    const empty = this.list.childElementCount === 0;
    $('log-empty').hidden = !empty;
    this.list.classList.toggle('hollow', empty);
    if (empty) {
      const some = this.lines.length > 0;
      const [title, hint] = some ? ['noMatch', 'noMatchHint'] : model.snapshot ? ['noLog', 'noLogHint'] : ['loading'];
      $('log-empty').replaceChildren(emptyState(t(title), hint ? t(hint) : ''));
    }
    const more = !this.follows && this.unread > 0;
    $('log-more').hidden = !more;
    if (more) setText($('log-more'), t('newLines', this.unread));
  },

  opened() {
    this.bad = 0;
    if (this.follows) this.toEnd();
  },

  save() {
    const text = this.lines.map((line) => `${new Date(line.time).toISOString()} ${line.name} ${line.full}\n`).join('');
    const link = make('a', { href: URL.createObjectURL(new Blob([text], { type: 'text/plain' })), download: 'flowgate.log' });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  },
};

// The message without what the page shows by itself: the newline and who speaks, as in `[Worker 0] `.
function logLine({ timestamp, level, levelName, message }) {
  const full = String(message ?? '').trimEnd();
  const [, from = '', text = full] = /^\[([A-Z][a-z]+ ?\d*)\] ([^]*)$/.exec(full) ?? [];
  const known = LEVELS.indexOf(levelName);
  return {
    time: number(timestamp), level: level ?? (known < 0 ? 3 : known), name: levelName ?? '', from, text, full,
    search: `${levelName} ${full}`.toLowerCase(),
  };
}

// The text with every occurrence of the search marked.
function marked(text, needle) {
  if (!needle) return [text];
  const parts = [];
  const lower = text.toLowerCase();
  // A character whose lower case is longer would shift all that follows.
  if (lower.length !== text.length) return [text];
  let from = 0;
  for (let at = lower.indexOf(needle); at >= 0; at = lower.indexOf(needle, from)) {
    parts.push(text.slice(from, at), make('mark', {}, text.slice(at, at + needle.length)));
    from = at + needle.length;
  }
  parts.push(text.slice(from));
  return parts;
}
