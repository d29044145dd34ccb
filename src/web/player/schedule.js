// The programme guide of the channel that is watched, a day at a time, from which past programmes are watched again.

const schedule = {
  guide: new Guide(),
  channel: null,
  day: 0,

  start(replay) {
    this.replay = replay;
    $('days').addEventListener('click', (event) => {
      const button = event.target.closest('button');
      if (!button) return;
      this.day = Number(button.dataset.day);
      this.show();
    });
    $('programmes').addEventListener('click', (event) => {
      const button = event.target.closest('button');
      if (button) this.replay(Number(button.dataset.start));
    });
    setInterval(() => this.mark(), 5000);
  },

  open(channel) {
    if (this.channel === channel) return;
    this.channel = channel;
    this.day = startOfDay(Date.now());
    this.show();
  },

  show() {
    if (!this.channel || $('view-guide').hidden) return;
    const now = Date.now();
    const all = this.guide.of(this.channel, now);
    const days = [...new Set(all.map((each) => startOfDay(each.start)))];
    if (days.length && !days.includes(this.day)) this.day = days.includes(startOfDay(now)) ? startOfDay(now) : days[days.length - 1];
    $('days').replaceChildren(...days.map((day) => {
      const button = make('button', { type: 'button', class: 'day', 'aria-pressed': String(day === this.day) }, dayName(day, now));
      button.dataset.day = day;
      return button;
    }));
    $('days').querySelector('[aria-pressed=true]')?.scrollIntoView({ block: 'nearest', inline: 'center' });
    const shown = all.filter((each) => startOfDay(each.start) === this.day || (each.start < this.day && each.stop > this.day));
    $('programmes').replaceChildren(...shown.map((each) => this.row(each)));
    setText($('guide-name'), this.channel.name);
    setText($('guide-empty'), t(all.length ? 'noGuideDay' : 'noGuide'));
    $('guide-empty').hidden = shown.length > 0;
    this.shown = shown;
    this.mark();
    const current = $('programmes').querySelector('[data-playing=true], [data-when=now]');
    if (current) reveal(current, $('programmes').parentElement);
  },

  row(programme) {
    const canReplay = hasRecordings(this.channel);
    const words = [make('time', {}, clock(programme.start)), make('span', { class: 'title' }, programme.title || `${clock(programme.start)} – ${clock(programme.stop)}`), make('span', { class: 'state' })];
    const node = canReplay ? make('button', { type: 'button' }, ...words) : make('div', {}, ...words);
    node.dataset.start = programme.start;
    return make('li', { class: 'programme' }, node);
  },

  // Past, now or to come, and which one is being watched: that changes as time goes by.
  mark() {
    if ($('view-guide').hidden || !this.shown) return;
    const now = Date.now();
    const position = playback.position();
    [...$('programmes').children].forEach((item, index) => {
      const programme = this.shown[index];
      const node = item.firstChild;
      const when = programme.stop <= now ? 'past' : programme.start <= now ? 'now' : 'next';
      const isPlayed = playback.channel === this.channel && position >= programme.start && position < programme.stop;
      setData(node, 'when', when);
      setData(node, 'playing', String(isPlayed));
      const canReplay = node.matches('button');
      if (canReplay) node.disabled = when === 'next';
      const state = isPlayed ? t('playing') : when === 'now' ? t('onAir') : '';
      setText(node.lastChild, state);
      if (canReplay && when !== 'next') label(node, `${t(when === 'now' ? 'fromStart' : 'replay')}: ${clock(programme.start)} ${programme.title}`);
    });
  },
};
