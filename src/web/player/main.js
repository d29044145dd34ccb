// The page as a whole: loads channels and guide, and joins the parts.

const GUIDE_REFRESH = 3 * HOUR;

const panel = {
  start() {
    $('tabs').addEventListener('click', (event) => {
      const tab = event.target.closest('[role=tab]');
      if (tab) this.open(tab.id.slice(4));
    });
    $('tabs').addEventListener('keydown', (event) => {
      if (event.key !== 'ArrowLeft' && event.key !== 'ArrowRight') return;
      this.open(this.name === 'guide' ? 'channels' : 'guide');
      $('tab-' + this.name).focus();
      event.preventDefault();
    });
    this.open('channels');
  },

  open(name) {
    this.name = name;
    for (const each of ['channels', 'guide']) {
      $('tab-' + each).setAttribute('aria-selected', String(each === name));
      $('tab-' + each).tabIndex = each === name ? 0 : -1;
      $('view-' + each).hidden = each !== name;
    }
    document.documentElement.dataset.side = 'open';
    if (name === 'guide') schedule.show();
  },
};

const page = {
  start() {
    $('language').replaceChildren(...LANGUAGES.map((each, index) => make('option', { value: each, lang: each }, LANGUAGE_NAMES[index])));
    $('language').value = language;
    $('language').addEventListener('change', () => this.speak($('language').value));
    $('failure-retry').addEventListener('click', () => this.load());
    addEventListener('hashchange', () => {
      const channel = channelOfHash(channelList.all, location.hash);
      if (channel && channel !== playback.channel) this.choose(channel);
    });
    setInterval(() => this.loadGuide(), GUIDE_REFRESH);
    this.load();
  },

  speak(choice) {
    language = choice;
    remember('language', choice);
    translateDocument(label);
    channelList.fill(channelList.all);
    schedule.show();
    show();
  },

  async load() {
    $('failure').hidden = true;
    setData($('app'), 'state', 'loading');
    // It takes as long to arrive as the list does.
    library().catch(() => {});
    const prefix = window.__RTP2HTTPD_CONFIG__?.appPathPrefix ?? '';
    let response;
    try {
      response = await fetch(`${prefix}/playlist.m3u`, { credentials: 'same-origin', cache: 'no-cache' });
    } catch {
      return this.fail(t('loadUnreached'));
    }
    if (response.status === 401) return this.fail(t('loadDenied'));
    if (!response.ok && response.status !== 404) return this.fail(t('loadStatus', response.status));
    const { guide, channels } = response.ok ? parsePlaylist(await response.text(), location.origin) : { channels: [] };
    if (!channels.length) return this.fail(t('loadEmpty'));
    channelList.fill(channels);
    this.guideUrl = guide?.replace('.gz', '') ?? null;
    this.loadGuide();
    const last = channels.find((channel) => channel.key === remembered('channel'));
    this.choose(channelOfHash(channels, location.hash) ?? last ?? channels[0]);
  },

  fail(text) {
    setText($('failure-text'), text);
    $('failure').hidden = false;
    $('failure-retry').focus();
  },

  // Without a guide everything else works.
  async loadGuide() {
    if (!this.guideUrl) return;
    try {
      const response = await fetch(this.guideUrl, { credentials: 'same-origin', cache: 'no-cache' });
      if (!response.ok) return;
      const now = Date.now();
      const { names, programmes } = await readGuide(response, new GuideReader(now - GUIDE_BACK, now + GUIDE_AHEAD));
      const guide = new Guide(names, programmes);
      for (const part of [channelList, schedule, controls]) part.guide = guide;
    } catch {
      return;
    }
    channelList.showProgrammes();
    schedule.show();
    show();
  },

  choose(channel) {
    playback.open(channel);
    schedule.open(channel);
    channelList.showChosen(channel);
    // The address leads to the channel, and no longer tells the access token, which the browser keeps by itself now.
    const query = new URLSearchParams(location.search);
    query.delete('r2h-token');
    const rest = query.size ? `?${query}` : '';
    history.replaceState(null, '', `${location.pathname}${rest}#${encodeURIComponent(channel.name)}`);
    controls.wake();
  },
};

function show() {
  controls.show();
  keys.showMedia();
  schedule.mark();
}

translateDocument(label);
playback.start([$('video-a'), $('video-b')], show);
channelList.start((channel) => page.choose(channel));
schedule.start((time) => {
  playback.seek(time);
  controls.wake();
});
controls.start();
keys.start();
panel.start();
page.start();
