// The controls over the picture: what they do, and what they show.

// Controls leave the picture alone after so many milliseconds without a touch.
const IDLE_AFTER = 3500;
// A change of channel is faster than this as a rule, and then no wheel is shown.
const BUSY_AFTER = 500;
const NOTICE_FOR = 5000;

const controls = {
  guide: new Guide(),
  dragged: null,

  start() {
    for (const node of document.querySelectorAll('[data-icon]')) node.prepend(icon(node.dataset.icon));
    const on = (id, action) => $(id).addEventListener('click', action);
    on('play', () => playback.toggle());
    on('back', () => this.step(-5));
    on('forward', () => this.step(5));
    on('live', () => playback.goLive());
    on('previous', () => this.zap(-1));
    on('next', () => this.zap(1));
    on('mute', () => sound.toggle());
    on('sound-hint', () => sound.release());
    on('pip', () => this.togglePip());
    on('full', () => this.toggleFull());
    on('side-toggle', () => this.toggleSide());
    on('side-close', () => this.toggleSide());
    on('problem-retry', () => playback.retry());
    on('problem-live', () => playback.open(playback.channel));
    $('volume').addEventListener('input', () => sound.set(Number($('volume').value)));
    $('source').addEventListener('change', () => {
      const at = playback.isLive ? null : playback.position();
      playback.open(playback.channel, { source: Number($('source').value), at });
    });
    $('pip').hidden = !document.pictureInPictureEnabled;
    // A phone of Apple's fills the screen with pictures only.
    $('full').hidden = !document.fullscreenEnabled && !playback.video.webkitEnterFullscreen;
    document.addEventListener('fullscreenchange', () => this.show());
    this.startTimeline();
    this.startIdling();
    setInterval(() => this.showTime(), 500);
  },

  step(seconds) {
    playback.seek(playback.position() + seconds * SECOND);
  },

  zap(step) {
    const channel = channelList.neighbour(step);
    if (channel) channelList.choose(channel);
  },

  async togglePip() {
    try {
      if (document.pictureInPictureElement) await document.exitPictureInPicture();
      else await playback.video.requestPictureInPicture();
    } catch { /* The browser has its reasons. */ }
  },

  async toggleFull() {
    try {
      if (!document.fullscreenEnabled) playback.video.webkitEnterFullscreen();
      else if (document.fullscreenElement) await document.exitFullscreen();
      else await document.documentElement.requestFullscreen();
    } catch { /* Likewise. */ }
  },

  toggleSide() {
    const isOpen = document.documentElement.dataset.side === 'closed';
    document.documentElement.dataset.side = isOpen ? 'open' : 'closed';
    remember('side', isOpen ? 'open' : 'closed');
    this.show();
  },

  startTimeline() {
    const line = $('timeline');
    const timeAt = (event) => {
      const box = line.getBoundingClientRect();
      const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
      return Math.min(this.range.start + share * (this.range.stop - this.range.start), Date.now());
    };
    line.addEventListener('pointerdown', (event) => {
      if (!playback.canSeek || !this.range) return;
      line.setPointerCapture(event.pointerId);
      this.dragged = timeAt(event);
      this.showTime();
    });
    line.addEventListener('pointermove', (event) => {
      if (!this.range || !playback.canSeek) return;
      const time = timeAt(event);
      if (this.dragged !== null) this.dragged = time;
      const hover = $('hover');
      hover.hidden = false;
      setText(hover, clockSeconds(time));
      hover.style.left = `${((time - this.range.start) / (this.range.stop - this.range.start)) * 100}%`;
      if (this.dragged !== null) this.showTime();
    });
    line.addEventListener('pointerup', () => {
      const time = this.dragged;
      this.dragged = null;
      if (time !== null) playback.seek(time);
    });
    line.addEventListener('pointercancel', () => { this.dragged = null; });
    line.addEventListener('pointerleave', () => { $('hover').hidden = true; });
  },

  startIdling() {
    const wake = () => {
      setData($('app'), 'idle', 'false');
      clearTimeout(this.idleTimer);
      this.idleTimer = setTimeout(() => this.rest(), IDLE_AFTER);
    };
    for (const event of ['pointermove', 'pointerdown', 'keydown', 'focusin']) addEventListener(event, wake, { passive: true });
    this.wake = wake;
    wake();
  },

  rest() {
    const isUsed = this.dragged !== null || $('controls').matches(':focus-within') && $('controls').querySelector(':focus-visible');
    if (playback.state === 'playing' && !isUsed) setData($('app'), 'idle', 'true');
  },

  show() {
    const { channel, state, problem } = playback;
    setData($('app'), 'state', state);
    if (!channel) return;
    setText($('now-number'), channel.number);
    setText($('now-name'), channel.name);
    document.title = channel.name;
    const isPlaying = state === 'playing';
    setIcon($('play').firstChild, isPlaying ? 'pause' : 'play');
    label($('play'), t(isPlaying ? 'pause' : 'play'));
    const isMuted = sound.isMuted || sound.isHushed;
    setIcon($('mute').firstChild, isMuted ? 'muted' : 'sound');
    label($('mute'), t(isMuted ? 'unmute' : 'mute'));
    $('volume').value = isMuted ? 0 : sound.volume;
    $('sound-hint').hidden = !sound.isHushed || !isPlaying;
    for (const id of ['back', 'forward']) $(id).hidden = !playback.canSeek;
    const isFull = Boolean(document.fullscreenElement);
    setIcon($('full').firstChild, isFull ? 'small' : 'full');
    label($('full'), t(isFull ? 'leaveFullScreen' : 'fullScreen'));
    $('side-toggle').setAttribute('aria-expanded', String(document.documentElement.dataset.side !== 'closed'));
    this.showProblem(state, problem);
    this.showSources(channel);
    this.showBadges();
    this.showTime();
  },

  showProblem(state, problem) {
    $('problem').hidden = state !== 'failed';
    if (state === 'failed') {
      setText($('problem-title'), t('problem'));
      setText($('problem-text'), problem.words);
      setText($('problem-remark'), problem.remark);
      $('problem-live').hidden = playback.isLive;
    }
    const isBusy = state === 'loading';
    if (isBusy && !this.busyTimer) {
      this.busyTimer = setTimeout(() => { $('busy').hidden = playback.state !== 'loading'; }, BUSY_AFTER);
    } else if (!isBusy) {
      clearTimeout(this.busyTimer);
      this.busyTimer = null;
      $('busy').hidden = true;
    }
    setText($('busy-text'), isBusy && problem ? `${problem.words} ${t('retrying')}` : '');
  },

  showSources(channel) {
    const field = $('source');
    $('source-field').hidden = channel.sources.length < 2;
    if (this.sourcesOf !== channel || this.sourcesLanguage !== language) {
      this.sourcesOf = channel;
      this.sourcesLanguage = language;
      field.replaceChildren(...channel.sources.map((_, index) => make('option', { value: index }, sourceName(channel, index))));
    }
    field.value = playback.sourceIndex;
  },

  showBadges() {
    const { picture, width, height, rate, sound: audio, silentSound } = playback.info;
    const frames = rate ? `${Math.round(rate * 100) / 100}\u00a0fps` : '';
    const texts = [height ? `${width}×${height}` : '', picture, frames, audio].filter(Boolean);
    const all = texts.join('|') + silentSound;
    if (this.badges === all) return;
    this.badges = all;
    $('badges').replaceChildren(...texts.map((text) => make('li', {}, text)));
    if (silentSound) notices.tell(t('noSound', silentSound));
  },

  // The line is the programme that is seen; where nothing is known of it, there is none.
  showTime() {
    const { channel } = playback;
    if (!channel) return;
    const now = Date.now();
    const position = this.dragged ?? playback.position();
    const programme = this.guide.at(channel, position, now);
    this.range = programme;
    $('line').hidden = !programme;
    setText($('now-title'), this.titleOf(programme));
    const behind = now - position;
    const isBehind = !playback.isLive || (playback.state === 'paused' && behind > LIVE_EDGE);
    setData($('live'), 'live', String(!isBehind && playback.state !== 'failed'));
    setText($('live').lastChild, isBehind ? `−${span(behind)}` : t('live'));
    label($('live'), isBehind ? `${t('goLive')}, ${t('back', span(behind))}` : t('live'));
    if (!programme) return;
    const share = (time) => Math.min(100, Math.max(0, ((time - programme.start) / (programme.stop - programme.start)) * 100));
    $('recorded').style.width = `${share(now)}%`;
    $('played').style.width = `${share(position)}%`;
    $('knob').style.left = `${share(position)}%`;
    setText($('line-start'), clock(programme.start));
    setText($('line-stop'), clock(programme.stop));
    const line = $('timeline');
    line.setAttribute('aria-disabled', String(!playback.canSeek));
    line.setAttribute('aria-valuemin', 0);
    line.setAttribute('aria-valuemax', Math.round((programme.stop - programme.start) / SECOND));
    line.setAttribute('aria-valuenow', Math.round((position - programme.start) / SECOND));
    line.setAttribute('aria-valuetext', clockSeconds(position));
  },

  titleOf(programme) {
    if (!programme) return '';
    const title = programme.title || (playback.isLive ? '' : t('recording'));
    return `${clock(programme.start)} – ${clock(programme.stop)}  ${title}`.trim();
  },
};

// Short words at the edge of the picture, read out as well.
const notices = {
  tell(text) {
    setText($('notice'), text);
    $('notice').hidden = false;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => { $('notice').hidden = true; }, NOTICE_FOR);
  },
};
