// What is played: a channel live or a recording of it, from which source; and what is done when that fails. Two pictures
// lie over one another: while one plays, the other gets ready, so that changing over shows no gap.

// The same source is tried again so often before the next one's turn comes, after these milliseconds.
const RETRY_AFTER = [500, 1500, 3000];
// A picture that stood so long has made up for what went before.
const STABLE_AFTER = 30_000;
// When all has failed, it is tried again by itself.
const RECOVER_AFTER = 20_000;
// The picture of the channel that is left may stay so long while the next is on its way.
const FAREWELL_MAX = 2500;
// Nearer than this to what is live is live.
const LIVE_EDGE = 3 * SECOND;
// So many seconds before the end of a part the next one is asked for.
const NEXT_PART_AHEAD = 10;
// What a source gives less than it was asked for is not missed if it is no more than this.
const SHORTFALL = 5 * SECOND;
// A pause of a live channel without recordings that is no longer than this is made up for by catching up.
const SHORT_PAUSE = 5 * SECOND;

const playback = {
  channel: null,
  sourceIndex: 0,
  // The time a recording was begun at, or null while live.
  recordingStart: null,
  // What it is made of, which of that is played, and up to which it has been asked for.
  parts: [],
  partIndex: 0,
  askedIndex: 0,
  // idle, loading, playing, paused, failed
  state: 'idle',
  problem: null,
  pausedAt: 0,
  // What is on its way has not been seen yet, so the clock of what is seen tells nothing.
  isPending: false,
  current: null,
  incoming: null,
  failures: 0,
  tried: new Set(),
  info: {},

  start(videos, show) {
    this.videos = videos;
    this.show = show;
    setInterval(() => this.watch(), 500);
    document.addEventListener('visibilitychange', () => this.comeBack());
    addEventListener('online', () => { if (this.state === 'failed') this.retry(); });
  },

  get video() { return this.current?.video ?? this.videos[0]; },
  get source() { return this.channel?.sources[this.sourceIndex]; },
  get isLive() { return this.recordingStart === null; },
  get canSeek() { return Boolean(this.channel) && hasRecordings(this.channel); },

  // The time on the clock of what is seen.
  position() {
    if (this.state === 'paused') return this.pausedAt;
    const stream = this.current?.spec.channel === this.channel ? this.current : null;
    if (stream && stream.spec.isLive === this.isLive && stream.isReady && !this.isPending) return stream.position();
    return this.isLive ? Date.now() : this.recordingStart;
  },

  open(channel, { at = null, source = null } = {}) {
    const isOther = channel !== this.channel;
    this.channel = channel;
    if (isOther) this.info = {};
    this.sourceIndex = source ?? (isOther ? rememberedSource(channel) : this.sourceIndex);
    this.tried.clear();
    this.failures = 0;
    this.begin(at);
  },

  // Begins live, or with a recording from a time.
  begin(at) {
    this.recordingStart = at;
    if (at !== null) {
      if (!this.source.recordings) this.sourceIndex = Math.max(0, this.channel.sources.findIndex((source) => source.recordings));
      this.splitFrom(at);
    }
    this.tune();
  },

  splitFrom(time) {
    this.parts = recordingParts(time, Date.now());
    this.recordingStart = this.parts[0].begin;
    this.partIndex = 0;
  },

  tune() {
    clearTimeout(this.retryTimer);
    this.problem = null;
    this.state = 'loading';
    this.isPending = true;
    if (this.source.foreign) this.takeProblem(new Problem('foreign'));
    else this.launch(this.specOfPart(this.partIndex), false);
    this.show();
  },

  specOfPart(index) {
    const { channel } = this;
    if (this.isLive) return { channel, url: this.source.url, isLive: true, begin: Date.now(), skip: 0 };
    this.askedIndex = index;
    return { channel, index, isLive: false, ...partLink(this.source.recordings, this.parts[index], index === 0, Date.now()) };
  },

  // Gets a stream ready in the picture that is not seen. `isNext` ones wait for the end of the one before.
  launch(spec, isNext) {
    this.incoming?.destroy();
    clearTimeout(this.farewell);
    const video = this.freeVideo();
    // Only one is to be heard. The first one tries to be, and the browser says whether it may.
    if (this.current) video.muted = true;
    else sound.apply(video);
    const stream = new Stream(video, spec, {
      ready: () => this.arrive(stream),
      end: () => this.finish(stream),
      problem: (problem) => this.fail(stream, problem),
      info: (info) => { if (stream === this.current || !this.current) this.showInfo(info); },
      refused: () => this.playHushed(video),
      stopped: () => { if (stream === this.current) this.pause(); },
    });
    stream.isNext = isNext;
    this.incoming = stream;
    if (!isNext && this.current && this.current.spec.channel !== spec.channel) {
      this.farewell = setTimeout(() => this.dropCurrent(), FAREWELL_MAX);
    }
  },

  // In the small window over other programs there is only one picture to be had.
  freeVideo() {
    if (this.current && document.pictureInPictureElement === this.current.video) {
      const { video } = this.current;
      this.dropCurrent();
      return video;
    }
    return this.videos.find((video) => video !== this.current?.video);
  },

  dropCurrent() {
    this.current?.destroy();
    this.current?.video.classList.remove('shown');
    this.current = null;
    this.show();
  },

  arrive(stream) {
    if (stream !== this.incoming) return;
    if (stream.isNext && !this.video.ended) {
      stream.video.pause();
      return;
    }
    clearTimeout(this.farewell);
    this.current?.destroy();
    this.current?.video.classList.remove('shown');
    this.current = stream;
    this.incoming = null;
    this.isPending = false;
    this.partIndex = stream.spec.index ?? 0;
    this.state = 'playing';
    this.since = performance.now();
    stream.video.classList.add('shown');
    this.showInfo(stream.info);
    sound.apply(stream.video);
    this.play();
    rememberPlace(this.channel, this.sourceIndex);
    this.show();
  },

  play() {
    const { video } = this;
    video.play().catch((error) => {
      if (error.name === 'NotAllowedError' && video === this.video) this.playHushed(video);
    });
  },

  playHushed(video) {
    sound.hush(video);
    video.play().catch(() => {});
    this.show();
  },

  showInfo(info) {
    this.info = info;
    this.show();
  },

  // A part of a recording is over.
  finish(stream) {
    if (stream !== this.current) return;
    if (this.incoming?.isNext) {
      this.incoming.isNext = false;
      if (this.incoming.isReady) this.arrive(this.incoming);
      return;
    }
    const next = this.partAfter(stream);
    if (next) this.launch(next, false);
    else this.goLive();
  },

  // What follows a part that has arrived whole. A source may give less than it was asked for; then it is asked for the
  // rest, unless it gave next to nothing, and what is missing does not exist.
  partAfter(stream) {
    const end = stream.position() + stream.ahead() * SECOND;
    const part = this.parts[this.partIndex];
    const isShort = part.end - end > SHORTFALL && end - part.begin > SHORTFALL;
    if (isShort) this.parts.splice(this.partIndex + 1, Infinity, ...recordingParts(end, Date.now()));
    return this.partIndex + 1 < this.parts.length ? this.specOfPart(this.partIndex + 1) : null;
  },

  fail(stream, problem) {
    if (stream !== this.current && stream !== this.incoming) return;
    if (stream === this.incoming) {
      this.incoming = null;
      stream.destroy();
      // The part before is still being played; the next will be asked for when it is over.
      if (stream.isNext) return;
    } else if (this.state === 'paused') {
      // Nobody misses it yet.
      this.isPending = true;
      return;
    } else if (this.incoming) {
      // What was being left failed while the next is on its way.
      this.dropCurrent();
      return;
    }
    this.takeProblem(problem);
  },

  // Tries the same again, then the other sources, and says why if none is left.
  takeProblem(problem) {
    const wasStable = this.state === 'playing' && performance.now() - this.since > STABLE_AFTER;
    if (wasStable) {
      this.failures = 0;
      this.tried.clear();
    }
    // A recording goes on where it broke off; one that has not begun is begun again.
    if (!this.isLive && !this.isPending && this.current) this.splitFrom(this.current.position());
    // There may be room for one stream only, which the picture being left still has.
    if (problem.kind === 'busy' && this.isPending) this.dropCurrent();
    this.isPending = true;
    if (!problem.isFinal && this.failures < RETRY_AFTER.length) {
      this.state = 'loading';
      this.problem = problem;
      const wait = RETRY_AFTER[this.failures];
      this.failures += 1;
      this.retryTimer = setTimeout(() => this.tune(), wait);
    } else {
      this.tried.add(this.sourceIndex);
      this.failures = 0;
      this.tryNextSource(problem);
    }
    this.show();
  },

  tryNextSource(problem) {
    const usable = (source, index) => !this.tried.has(index) && !source.foreign && (this.isLive || source.recordings);
    const next = this.channel.sources.findIndex(usable);
    if (next >= 0) {
      this.sourceIndex = next;
      this.tune();
      notices.tell(t('fallback', sourceName(this.channel, next)));
      return;
    }
    this.state = 'failed';
    this.problem = problem;
    this.dropCurrent();
    if (!problem.isFinal) this.retryTimer = setTimeout(() => this.retry(), RECOVER_AFTER);
  },

  retry() {
    this.tried.clear();
    this.failures = 0;
    this.tune();
  },

  pause() {
    if (this.state !== 'playing') return;
    this.pausedAt = this.position();
    this.state = 'paused';
    if (this.isLive) this.current.cut();
    else this.video.pause();
    this.show();
  },

  resume() {
    if (this.state === 'failed') return this.retry();
    if (this.state !== 'paused') return;
    const behind = Date.now() - this.pausedAt;
    if (!this.isLive && this.isPending) {
      this.begin(this.pausedAt);
    } else if (!this.isLive) {
      this.state = 'playing';
      this.play();
    } else if (this.canSeek && behind > SHORT_PAUSE + RECORDING_AGE_MIN) {
      this.begin(this.pausedAt);
    } else {
      this.begin(null);
    }
    this.show();
  },

  toggle() {
    if (this.state === 'playing') this.pause();
    else this.resume();
  },

  goLive() {
    if (!this.channel || (this.isLive && this.state === 'playing')) return;
    this.open(this.channel);
  },

  // Goes to a time on the clock.
  seek(time) {
    if (!this.canSeek) return;
    if (time > Date.now() - LIVE_EDGE) return this.goLive();
    if (!this.isLive && this.current?.isReady && !this.isPending && this.current.seek(time)) {
      this.pausedAt = time;
      this.show();
      return;
    }
    this.open(this.channel, { at: time });
  },

  watch() {
    const { current } = this;
    if (!current || this.state !== 'playing') return;
    if (performance.now() - this.since > STABLE_AFTER) this.failures = 0;
    const isNearEnd = !this.isLive && current.isWhole() && current.ahead() < NEXT_PART_AHEAD;
    if (isNearEnd && !this.incoming && this.askedIndex === this.partIndex) {
      const next = this.partAfter(current);
      if (next) this.launch(next, true);
    }
    this.show();
  },

  // Browsers hold pages back that nobody sees.
  comeBack() {
    if (document.hidden || !this.current) return;
    if (this.state === 'failed') return this.retry();
    if (this.state !== 'playing') return;
    this.current.movedAt = performance.now();
    if (this.video.paused) this.play();
  },
};

function sourceName(channel, index) {
  return channel.sources[index].label || t('source', index + 1);
}

function rememberedSource(channel) {
  const index = rememberedList('sources')[channel.key];
  return Number.isInteger(index) && index >= 0 && index < channel.sources.length ? index : 0;
}

// The channel to begin with the next time, and which of several sources of it plays.
function rememberPlace(channel, index) {
  remember('channel', channel.key);
  if (channel.sources.length < 2) return;
  remember('sources', JSON.stringify({ ...rememberedList('sources'), [channel.key]: index }));
}

// How loud, which is the same for all pictures. A browser that allows no sound yet is asked again at the first touch.
const sound = {
  volume: Math.min(1, Math.max(0, Number(remembered('volume') ?? 1) || 0)),
  isMuted: remembered('muted') === 'yes',
  isHushed: false,

  apply(video) {
    video.volume = this.volume;
    video.muted = this.isMuted || this.isHushed;
  },

  hush(video) {
    this.isHushed = true;
    video.muted = true;
    addEventListener('pointerdown', () => this.release(), { once: true, capture: true });
    addEventListener('keydown', () => this.release(), { once: true, capture: true });
  },

  release() {
    if (!this.isHushed) return;
    this.isHushed = false;
    this.apply(playback.video);
    playback.show();
  },

  set(volume) {
    this.volume = Math.min(1, Math.max(0, volume));
    this.isMuted = this.volume === 0;
    this.keep();
  },

  toggle() {
    this.isMuted = !this.isMuted;
    if (!this.isMuted && this.volume === 0) this.volume = 0.5;
    this.keep();
  },

  keep() {
    this.isHushed = false;
    remember('volume', this.volume);
    remember('muted', this.isMuted ? 'yes' : 'no');
    this.apply(playback.video);
    playback.show();
  },
};
