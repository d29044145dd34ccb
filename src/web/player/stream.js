// One stream in one picture: from the request to frames on the screen. Starts, watches over it, keeps close to what is
// live, and says what happens; what to do about it is for `playback` to decide.

// A picture must be there within so many milliseconds, and may stand still for so many.
const START_WAIT = 15_000;
const STALL_WAIT = 8000;
const WATCH_EVERY = 250;
// Somebody may play again at once what was paused.
const STOP_WAIT = 300;

// Seconds behind what has arrived, for live streams: what is aimed at, what starts a catching up, and what is no use
// catching up with. Each time the picture has to wait, a second more is allowed, up to a point.
const LATENCY_AIM = 1.5;
const LATENCY_MAX = 3;
const LATENCY_ALLOWED_MAX = 6;
const LATENCY_HOPELESS = 15;
const RATE_MAX = 1.2;

// Seconds that a recording is read ahead, and that are kept of what has been played.
const AHEAD_MAX = 40;
// Browsers keep some 150 MB.
const AHEAD_BYTES_MAX = 64 << 20;
const BEHIND_MAX = 60;
const BEHIND_KEPT = 30;

// Sets of these televisions play transport streams by themselves and better than by script.
const IS_WEBOS = /web0s|webos/i.test(navigator.userAgent);

// Addresses whose sound the browser gave up on soon after the beginning, which it had not said before; what so short a
// time is, in milliseconds.
const unheard = new Set();
const UNHEARD_WITHIN = 8000;

const canPlayHls = () => make('video').canPlayType('application/vnd.apple.mpegurl') !== '';

class Stream {
  // `spec` has `url`, `isLive`, `begin` (the time on the clock at which a recording begins, in milliseconds) and `skip`
  // (milliseconds of it not to be played). `events` has `ready()`, `end()`, `problem(problem)`, `info(info)`,
  // `refused()` for a browser that does not let it begin with sound, and `stopped()` for a system that has paused it.
  constructor(video, spec, events) {
    this.video = video;
    this.spec = spec;
    this.events = events;
    this.isReady = false;
    this.hasFailed = false;
    // Comes as fast as it is played, and not as fast as it can.
    this.isPaced = spec.isLive;
    this.isLoaded = false;
    this.isOver = false;
    this.bytes = 0;
    this.info = {};
    this.underruns = 0;
    this.startedAt = performance.now();
    this.movedAt = this.startedAt;
    this.lastTime = -1;
    this.mediaStart = 0;
    this.listeners = new AbortController();
    this.listen();
    this.timer = setInterval(() => this.watch(), WATCH_EVERY);
    this.start().catch((error) => this.fail(error instanceof Problem ? error : new Problem('broken', error.message)));
  }

  async start() {
    const path = this.spec.url.split(/[?#$]/)[0];
    if (IS_WEBOS || /\.m3u8?$/i.test(path)) return this.playNative();
    if (!('MediaSource' in window || 'ManagedMediaSource' in window)) throw new Problem('format', 'MediaSource');
    const mpegts = await library();
    if (this.isOver) return;
    const player = mpegts.createPlayer({ type: 'mpegts', isLive: this.spec.isLive, url: this.spec.url }, {
      customLoader: loaderFor(this.hooks()),
      enableStashBuffer: false,
      lazyLoad: false,
      autoCleanupSourceBuffer: true,
      autoCleanupMaxBackwardDuration: BEHIND_MAX,
      autoCleanupMinBackwardDuration: BEHIND_KEPT,
    });
    this.player = player;
    player.on(mpegts.Events.ERROR, (type, detail, info) => {
      const isForm = [mpegts.ErrorDetails.MEDIA_FORMAT_UNSUPPORTED, mpegts.ErrorDetails.MEDIA_CODEC_UNSUPPORTED].includes(detail);
      this.fail(new Problem(isForm ? 'format' : 'broken', info?.msg ?? detail));
    });
    player.on(mpegts.Events.MEDIA_INFO, (info) => this.note({ width: info.width, height: info.height, rate: info.fps }));
    // What has arrived is still played; the element says when that is over.
    player.on(mpegts.Events.LOADING_COMPLETE, () => { this.isLoaded = true; });
    player.attachMediaElement(this.video);
    player.load();
    this.play();
  }

  // The element does all by itself: HLS, and whatever a television plays.
  playNative() {
    if (!IS_WEBOS && !canPlayHls()) throw new Problem('hls');
    this.isNative = true;
    this.video.src = this.spec.url;
    this.play();
  }

  hooks() {
    return {
      isHeard: (sound) => sound !== MP2.name || !unheard.has(this.spec.url),
      isFull: () => !this.isPaced && this.isFull(),
      opened: (aborter) => { this.aborter = aborter; },
      // What has a length is a file, even in the place of a live channel.
      length: (bytes) => { if (bytes) this.isPaced = false; },
      bytes: (count) => { this.bytes += count; },
      contents: (reader) => this.check(reader),
      problem: (problem) => {
        if (problem.kind !== 'hls' || !canPlayHls()) return this.fail(problem);
        this.dropPlayer();
        this.playNative();
      },
    };
  }

  // What cannot be played is told at once instead of being waited for.
  check(reader) {
    const { picture, sound, silentSound } = reader;
    const hasPicture = picture?.pid !== undefined;
    if (hasPicture && !reader.canPlay(picture)) return this.fail(new Problem('picture', picture.name));
    if (!hasPicture && !sound) return this.fail(new Problem('format'));
    this.note({ picture: hasPicture ? picture.name : '', sound: sound?.name ?? '', silentSound: silentSound?.name ?? '' });
  }

  listen() {
    const { video } = this;
    const { signal } = this.listeners;
    const on = (event, handler) => video.addEventListener(event, handler, { signal });
    on('loadeddata', () => this.becomeReady());
    on('resize', () => this.note({ width: video.videoWidth, height: video.videoHeight }));
    on('waiting', () => { if (this.isReady && !video.paused) this.underruns += 1; });
    on('pause', () => setTimeout(() => this.noteStop(), STOP_WAIT));
    on('ended', () => { if (this.spec.isLive) this.fail(new Problem('ended')); else this.events.end(); });
    on('error', () => { if (video.error) this.fail(problemOfMedia(video.error)); });
  }

  becomeReady() {
    if (this.isReady || this.isOver) return;
    this.isReady = true;
    const { video, spec } = this;
    this.mediaStart = video.buffered.length ? video.buffered.start(0) : 0;
    if (spec.skip) video.currentTime = this.mediaStart + spec.skip / 1000;
    this.note({ width: video.videoWidth, height: video.videoHeight });
    this.events.ready();
  }

  // A headset that is pulled out, a call that comes in.
  noteStop() {
    const { video } = this;
    if (video.paused && !video.ended && !document.hidden && this.isReady && !this.isOver) this.events.stopped();
  }

  note(info) {
    Object.assign(this.info, info);
    this.events.info(this.info);
  }

  // Browsers refuse to begin with sound before the page has been touched; who calls knows what to do then.
  play() {
    return this.video.play().catch((error) => {
      if (error.name === 'NotAllowedError' && !this.isOver) this.events.refused();
    });
  }

  // Seconds that have arrived but not been played.
  ahead() {
    const { buffered, currentTime } = this.video;
    return buffered.length ? Math.max(0, buffered.end(buffered.length - 1) - currentTime) : 0;
  }

  // Whether all there is lies in the buffer: after the last byte came it takes a while until the element knows its end.
  isWhole() {
    const { duration, currentTime } = this.video;
    return this.isLoaded && Number.isFinite(duration) && currentTime + this.ahead() > duration - 0.5;
  }

  isFull() {
    const ahead = this.ahead();
    const arrived = this.video.currentTime - this.mediaStart + ahead;
    return ahead > AHEAD_MAX || (ahead > 1 && (this.bytes * ahead) / arrived > AHEAD_BYTES_MAX);
  }

  // The time on the clock of what is seen, in milliseconds.
  position() {
    if (this.spec.isLive) return Date.now() - this.ahead() * 1000;
    const played = this.isReady ? (this.video.currentTime - this.mediaStart) * 1000 : this.spec.skip;
    return this.spec.begin + played;
  }

  // Goes to a time on the clock if that much of a recording is at hand.
  seek(time) {
    const target = this.mediaStart + (time - this.spec.begin) / 1000;
    const { buffered } = this.video;
    for (let i = 0; i < buffered.length; i += 1) {
      if (target < buffered.start(i) || target > buffered.end(i) - 0.5) continue;
      this.video.currentTime = target;
      return true;
    }
    return false;
  }

  watch() {
    const { video } = this;
    const now = performance.now();
    if (!this.isReady) {
      this.jumpToStart();
      if (now - this.startedAt > START_WAIT) this.fail(new Problem(this.bytes ? 'nopicture' : 'silent'));
      return;
    }
    if (video.currentTime !== this.lastTime || video.paused || document.hidden || this.isLoaded) this.movedAt = now;
    this.lastTime = video.currentTime;
    if (now - this.movedAt > STALL_WAIT) return this.fail(new Problem('stalled'));
    if (this.player && !video.paused) this.crossGap();
    if (this.player && this.isPaced) this.keepUp(now);
  }

  // What has arrived may begin later than at zero.
  jumpToStart() {
    const { video } = this;
    if (video.buffered.length && video.buffered.start(0) > video.currentTime) video.currentTime = video.buffered.start(0);
  }

  // Where something is missing, what follows is gone on with.
  crossGap() {
    const { buffered, currentTime, readyState } = this.video;
    if (readyState > 2) return;
    for (let i = 0; i < buffered.length; i += 1) {
      if (buffered.start(i) > currentTime && buffered.end(i) - buffered.start(i) > 0.3) {
        this.video.currentTime = buffered.start(i) + 0.01;
        return;
      }
    }
  }

  keepUp(now) {
    const { video } = this;
    const latency = this.ahead();
    if (latency > LATENCY_HOPELESS && now - this.startedAt < START_WAIT) {
      // Nothing live comes so fast.
      this.isPaced = false;
      return;
    }
    const allowed = Math.min(LATENCY_MAX + this.underruns, LATENCY_ALLOWED_MAX);
    if (latency > LATENCY_HOPELESS) video.currentTime += latency - LATENCY_AIM;
    else if (latency > allowed) video.playbackRate = RATE_MAX;
    else if (latency < allowed - LATENCY_MAX + LATENCY_AIM) video.playbackRate = 1;
  }

  // Stops asking for more but leaves the picture standing, for a pause.
  cut() {
    this.isCut = true;
    clearInterval(this.timer);
    this.aborter?.abort();
    this.video.pause();
  }

  fail(problem) {
    if (this.isOver || this.isCut || this.hasFailed) return;
    this.hasFailed = true;
    const isSound = problem.kind === 'broken' && this.info.sound === MP2.name;
    if (isSound && performance.now() - this.startedAt < UNHEARD_WITHIN) unheard.add(this.spec.url);
    // The library is in the middle of something and must not be destroyed under its own feet.
    setTimeout(() => { if (!this.isOver) this.events.problem(problem); });
  }

  dropPlayer() {
    const { player } = this;
    this.player = null;
    player?.destroy();
  }

  destroy() {
    if (this.isOver) return;
    this.isOver = true;
    clearInterval(this.timer);
    this.listeners.abort();
    this.video.playbackRate = 1;
    this.dropPlayer();
    if (this.isNative) {
      this.video.removeAttribute('src');
      this.video.load();
    }
  }
}
