// Keyboards, remote controls, touch, and the buttons that the system has for media.

// A number is taken for complete after so long without a further digit.
const DIGITS_WAIT = 1000;
const DIGITS_MAX = 5;
// A finger that moves so far means it, in points.
const SWIPE = 60;

const keys = {
  digits: '',

  start() {
    addEventListener('keydown', (event) => this.key(event));
    // Who points does not want the space bar to press the same button again.
    addEventListener('click', (event) => { if (event.detail > 0) event.target.closest?.('button')?.blur(); });
    this.startTouch();
    this.startMediaKeys();
  },

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { target } = event;
    if (target.matches?.('select, input[type=search]')) return;
    const isRange = target.matches?.('input[type=range]');
    const isButton = target.matches?.('button');
    const inTabs = target.closest?.('.tabs');
    const inList = target.closest?.('.channels, .programmes');
    if (this.digit(event.key) || this.move(event.key, { isRange: isRange || inTabs, isButton, inList, target })) event.preventDefault();
  },

  move(key, { isRange, isButton, inList, target }) {
    const actions = {
      ArrowLeft: () => !isRange && controls.step(-5),
      ArrowRight: () => !isRange && controls.step(5),
      ArrowUp: () => !isRange && (inList ? this.walk(target, -1) : controls.zap(-1)),
      ArrowDown: () => !isRange && (inList ? this.walk(target, 1) : controls.zap(1)),
      PageUp: () => controls.zap(-1),
      ChannelUp: () => controls.zap(-1),
      PageDown: () => controls.zap(1),
      ChannelDown: () => controls.zap(1),
      ' ': () => !isButton && playback.toggle(),
      MediaPlayPause: () => playback.toggle(),
      m: () => sound.toggle(),
      f: () => controls.toggleFull(),
      s: () => controls.toggleSide(),
      Enter: () => !isButton && (this.digits ? this.chooseDigits() : controls.toggleSide()),
      Escape: () => this.escape(),
      '/': () => { panel.open('channels'); $('search').focus(); },
    };
    const action = actions[key.length === 1 ? key.toLowerCase() : key];
    return Boolean(action) && action() !== false;
  },

  // Up and down in a list go from row to row.
  walk(target, step) {
    const item = target.closest('li');
    const next = step < 0 ? item?.previousElementSibling : item?.nextElementSibling;
    next?.querySelector('button')?.focus();
  },

  escape() {
    if (this.digits) this.showDigits('');
    else {
      document.activeElement?.blur();
      setData($('app'), 'idle', 'true');
    }
  },

  digit(key) {
    if (!/^\d$/.test(key)) return false;
    this.showDigits((this.digits + key).slice(-DIGITS_MAX));
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.chooseDigits(), DIGITS_WAIT);
    return true;
  },

  showDigits(digits) {
    this.digits = digits;
    clearTimeout(this.timer);
    $('digits').hidden = !digits;
    setText($('digits-number'), digits);
    setText($('digits-name'), channelList.all[Number(digits) - 1]?.name ?? '–');
  },

  chooseDigits() {
    const channel = channelList.all[Number(this.digits) - 1];
    this.showDigits('');
    if (channel) channelList.choose(channel);
  },

  // A tap shows the controls or hides them, two fill the screen; up and down change the channel.
  startTouch() {
    const surface = $('touch');
    let start = null;
    surface.addEventListener('click', (event) => {
      if (event.pointerType === 'mouse') {
        clearTimeout(this.clickTimer);
        this.clickTimer = setTimeout(() => playback.toggle(), 250);
      }
    });
    surface.addEventListener('dblclick', () => {
      clearTimeout(this.clickTimer);
      controls.toggleFull();
    });
    surface.addEventListener('touchstart', (event) => {
      const [finger] = event.touches;
      start = event.touches.length === 1 ? { x: finger.clientX, y: finger.clientY } : null;
    }, { passive: true });
    surface.addEventListener('touchend', (event) => {
      if (!start) return;
      const [finger] = event.changedTouches;
      const [x, y] = [finger.clientX - start.x, finger.clientY - start.y];
      start = null;
      if (Math.abs(y) > SWIPE && Math.abs(y) > 2 * Math.abs(x)) controls.zap(y < 0 ? 1 : -1);
      else if (Math.abs(x) > SWIPE && Math.abs(x) > 2 * Math.abs(y)) controls.step(x < 0 ? -5 : 5);
    }, { passive: true });
  },

  startMediaKeys() {
    const session = navigator.mediaSession;
    if (!session) return;
    const actions = {
      play: () => playback.resume(),
      pause: () => playback.pause(),
      stop: () => playback.pause(),
      previoustrack: () => controls.zap(-1),
      nexttrack: () => controls.zap(1),
      seekbackward: () => controls.step(-5),
      seekforward: () => controls.step(5),
    };
    for (const [action, handler] of Object.entries(actions)) {
      try { session.setActionHandler(action, handler); } catch { /* Not every browser knows all. */ }
    }
  },

  // What the system shows beside its buttons.
  showMedia() {
    const session = navigator.mediaSession;
    const { channel, state } = playback;
    if (!session || !channel) return;
    session.playbackState = state === 'playing' ? 'playing' : state === 'paused' ? 'paused' : 'none';
    const title = controls.range?.title || channel.name;
    const key = `${title}|${channel.key}`;
    if (this.told === key) return;
    this.told = key;
    const artwork = /^(https?:|data:image\/|\/)/i.test(channel.logo) ? [{ src: new URL(channel.logo, location.origin).href }] : [];
    session.metadata = new MediaMetadata({ title, artist: channel.name, artwork });
  },
};
