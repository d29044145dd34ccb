// The page as a whole: the event stream, the summary, views, theme and language.
const RETRY_FIRST_MS = 1000;
const RETRY_MAX_MS = 15_000;
// The server speaks every second; a stream that says nothing for so long is dead.
const SILENCE_MS = 8000;

const link = {
  source: null,
  wait: RETRY_FIRST_MS,
  retryAt: 0,
  heardAt: 0,
  state: 'connecting',
  problem: '',

  start() {
    $('retry').addEventListener('click', () => this.open());
    setInterval(() => this.tick(), 250);
    this.open();
  },

  open() {
    this.source?.close();
    this.retryAt = 0;
    this.heardAt = performance.now();
    this.show();
    const source = new EventSource(withToken('/sse'), { withCredentials: true });
    this.source = source;
    source.onmessage = (event) => this.receive(event.data);
    source.onerror = () => { if (this.source === source) this.fail(); };
  },

  receive(text) {
    this.heardAt = performance.now();
    let snapshot;
    try {
      snapshot = JSON.parse(text);
    } catch {
      return;
    }
    this.wait = RETRY_FIRST_MS;
    if (this.state === 'lost') setText($('announce'), t('back'));
    this.state = 'live';
    model.ingest(snapshot);
    logView.ingest(snapshot);
    this.show();
    scheduleShow();
  },

  // EventSource does not tell why it failed, and gives up for good on some answers: we retry by ourselves.
  fail() {
    this.source.close();
    this.source = null;
    this.state = 'lost';
    this.retryAt = performance.now() + this.wait;
    this.wait = Math.min(this.wait * 2, RETRY_MAX_MS);
    this.findProblem();
    this.show();
  },

  async findProblem() {
    try {
      const answer = await fetch(withToken('/api/status'), { credentials: 'same-origin', cache: 'no-store' });
      this.problem = [401, 403].includes(answer.status) ? String(answer.status) : '';
    } catch {
      this.problem = '';
    }
    this.show();
  },

  tick() {
    const now = performance.now();
    if (this.retryAt > 0 && now >= this.retryAt) this.open();
    else if (this.source && now - this.heardAt > SILENCE_MS) this.fail();
    else if (this.state === 'lost') this.show();
  },

  show() {
    setData($('link'), 'link', this.state);
    setText($('link-text'), t(this.state));
    const lost = this.state === 'lost';
    document.body.classList.toggle('stale', lost);
    $('banner').hidden = !lost;
    if (lost) setText($('banner-text'), this.bannerText());
  },

  bannerText() {
    if (this.problem) return t('denied', this.problem);
    const seconds = this.retryAt > 0 ? Math.max(1, Math.ceil((this.retryAt - performance.now()) / 1000)) : 0;
    if (!model.snapshot) return seconds ? t('unreached', seconds) : t('unreachedNow');
    return seconds ? t('lostSince', clock(model.now), seconds) : t('lostNow', clock(model.now));
  },
};

const summary = {
  start() {
    for (const flow of ['flowing', 'throttled', 'congested', 'starting']) {
      const many = make('b');
      const button = make('button', { type: 'button', on: { click: () => this.filter(flow) } }, icon(flow), make('span'), many);
      $('legend').append(make('li', { 'data-flow': flow }, button));
    }
    this.readout = new Readout($('total-chart'), (time) => {
      const value = sampleAt(model.total, time);
      return value === undefined ? '' : `${clock(time)}  ${rate(value)}`;
    });
    addEventListener('resize', () => this.draw());
  },

  filter(flow) {
    views.open('clients');
    clientView.filter = 'all';
    clientView.choose(flow);
  },

  show() {
    const { snapshot, flows } = model;
    for (const item of $('legend').children) {
      const [, name, many] = item.firstChild.children;
      setText(name, t(item.dataset.flow));
      item.firstChild.title = t(item.dataset.flow + 'Hint');
      setText(many, snapshot ? flows[item.dataset.flow] : '–');
      setData(item, 'none', String(!flows[item.dataset.flow]));
    }
    if (!snapshot) return;
    setText($('version'), snapshot.version ?? '');
    setText($('uptime'), duration(snapshot.uptimeMs));
    const [value, unit] = rateParts(snapshot.totalBandwidth);
    setText($('total-bandwidth'), value);
    setText($('total-unit'), unit);
    setText($('peak'), t('peak', rate(model.total.max()), TOTAL_HISTORY_MS / 60_000));
    setText($('total-clients'), count(snapshot.totalClients));
    setText($('max-clients'), t('ofMax', count(snapshot.maxClients)));
    const used = number(snapshot.totalClients) / Math.max(1, number(snapshot.maxClients));
    $('client-meter').style.width = Math.min(100, used * 100) + '%';
    setData($('client-meter'), 'full', String(used >= 0.9));
    setText($('total-sent'), bytes(snapshot.totalBytesSent));
    for (const part of $('share').children) part.style.flexGrow = flows[part.dataset.flow];
    setData($('share'), 'none', String(model.clients.size === 0));
    document.title = `${model.clients.size} · ${rate(snapshot.totalBandwidth)} · flowgate`;
    this.draw();
  },

  draw() {
    const canvas = $('total-chart');
    // A minute at first, so that a page just opened is no empty field; more as the past grows.
    const known = model.now - (model.total.times[0] ?? model.now);
    const range = Math.min(TOTAL_HISTORY_MS, Math.max(60_000, known));
    const size = { width: canvas.clientWidth, height: canvas.clientHeight, range, weight: 2 };
    this.readout.area = drawRate(canvas, model.total, model.now, size);
    setLabel(canvas, t('bandwidthAlt', rate(model.snapshot?.totalBandwidth)));
  },
};

const views = {
  names: ['clients', 'channels', 'upstreams', 'workers', 'log'],

  start() {
    $('tabs').addEventListener('click', (event) => {
      const tab = event.target.closest('[role=tab]');
      if (tab) this.open(tab.id.slice(4));
    });
    $('tabs').addEventListener('keydown', (event) => this.step(event));
    const wanted = remembered('view');
    this.open(this.names.includes(wanted) ? wanted : 'clients');
  },

  step(event) {
    const move = { ArrowRight: 1, ArrowLeft: -1, Home: -this.names.length, End: this.names.length }[event.key];
    if (!move) return;
    const last = this.names.length - 1;
    const index = Math.min(last, Math.max(0, this.names.indexOf(this.current) + move));
    this.open(this.names[index]);
    $('tab-' + this.names[index]).focus();
    event.preventDefault();
  },

  open(name) {
    this.current = name;
    remember('view', name);
    for (const each of this.names) {
      const chosen = each === name;
      $('tab-' + each).setAttribute('aria-selected', String(chosen));
      $('tab-' + each).tabIndex = chosen ? 0 : -1;
      $('view-' + each).hidden = !chosen;
    }
    $('tab-' + name).scrollIntoView?.({ block: 'nearest', inline: 'center' });
    if (name === 'log') logView.opened();
    show();
  },

  showCounts() {
    const { snapshot } = model;
    const workers = snapshot?.workers ?? [];
    const counts = [model.clients.size, model.channels.size, snapshot?.upstreams?.length ?? 0, workers.length, logView.bad];
    const losing = [...model.channels.values()].filter((channel) => channel.isLosing).length;
    const down = workers.filter((worker) => !worker.pid).length;
    // What makes a count red, so that it is seen from every view.
    const troubles = { channels: losing && t('losingHint', losing), workers: down && t('downHint', down) };
    counts.forEach((many, index) => {
      const tab = $('tab-' + this.names[index]);
      const node = tab.querySelector('.count');
      setText(node, many);
      node.hidden = many === 0;
      const trouble = troubles[this.names[index]] || '';
      setData(node, 'bad', String(trouble !== ''));
      tab.title = trouble;
    });
  },
};

// At most once per frame, and not at all while nobody can see it.
let showing = false;
function scheduleShow() {
  if (showing || document.hidden) return;
  showing = true;
  requestAnimationFrame(() => {
    showing = false;
    show();
  });
}

function show() {
  summary.show();
  views.showCounts();
  clientView.showChips();
  const view = { clients: clientView, channels: channelView, upstreams: upstreamView, workers: workerView }[views.current];
  view?.show();
  inspector.show();
}

const shell = {
  start() {
    $('theme').append(icon('auto'));
    $('theme').addEventListener('click', () => this.nextTheme());
    $('language').addEventListener('click', () => this.switchLanguage());
    systemDark.addEventListener('change', () => this.showTheme());
    $('menu').addEventListener('click', () => this.toggleMenu($('menu-list').hidden));
    $('reload').addEventListener('click', () => { this.toggleMenu(false); actions.reload(); });
    $('restart').addEventListener('click', () => { this.toggleMenu(false); actions.restart(); });
    document.addEventListener('click', (event) => { if (!event.target.closest('.menu')) this.toggleMenu(false); });
    document.addEventListener('keydown', (event) => this.key(event));
    document.addEventListener('visibilitychange', scheduleShow);
    this.showTheme();
    this.showLanguage();
  },

  key(event) {
    if (event.key === 'Escape' && !$('menu-list').hidden) {
      this.toggleMenu(false);
      $('menu').focus();
    }
    const typing = event.target.matches?.('input, select');
    if (event.key === '/' && !typing && !event.ctrlKey && !event.metaKey) {
      const field = views.current === 'log' ? $('log-search') : $('client-search');
      if (views.current !== 'log') views.open('clients');
      field.focus();
      event.preventDefault();
    }
  },

  toggleMenu(open) {
    $('menu-list').hidden = !open;
    $('menu').setAttribute('aria-expanded', String(open));
    if (open) $('reload').focus();
  },

  nextTheme() {
    remember('theme', THEMES[(THEMES.indexOf(themeChoice()) + 1) % THEMES.length]);
    this.showTheme();
  },

  showTheme() {
    applyTheme();
    readPalette();
    const choice = themeChoice();
    setIcon($('theme').firstChild, choice);
    const text = t('theme', t(choice));
    setLabel($('theme'), text);
    $('theme').title = text;
    if (views.current) show();
  },

  switchLanguage() {
    language = LANGUAGES[(LANGUAGES.indexOf(language) + 1) % LANGUAGES.length];
    remember('language', language);
    this.showLanguage();
    clientView.translate();
    for (const view of [channelView, upstreamView]) view.table.translate();
    logView.translate();
    this.showTheme();
    link.show();
    if (inspector.id) inspector.build();
    show();
  },

  showLanguage() {
    translateDocument();
    $('language').textContent = language === 'en' ? '中文' : 'English';
    $('language').lang = language === 'en' ? 'zh' : 'en';
  },
};

readPalette();
shell.start();
summary.start();
clientView.start();
channelView.start();
upstreamView.start();
logView.start();
inspector.start();
views.start();
link.start();
