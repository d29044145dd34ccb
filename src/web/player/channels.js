// The list of channels: search, groups, what is on, and which one is chosen.

// Rows are made when they come near: a list may have thousands. So many at a time, and so near, in points.
const ROWS = 150;
const NEAR = 800;

const channelList = {
  all: [],
  found: [],
  guide: new Guide(),
  group: remembered('group') ?? '',
  rows: new Map(),

  start(choose) {
    this.choose = choose;
    $('search').addEventListener('input', () => this.showFound());
    $('search').addEventListener('keydown', (event) => this.key(event));
    $('group').addEventListener('change', () => {
      this.group = $('group').value;
      remember('group', this.group);
      this.showFound();
    });
    $('channel-list').addEventListener('click', (event) => {
      const row = event.target.closest('button');
      if (row) this.choose(this.all[Number(row.dataset.number) - 1]);
    });
    $('channel-list').parentElement.addEventListener('scroll', () => this.growNear(), { passive: true });
    setInterval(() => this.showProgrammes(), 20_000);
  },

  fill(channels) {
    this.all = channels;
    const groups = [...new Set(channels.flatMap((channel) => channel.groups))];
    if (!groups.includes(this.group)) this.group = '';
    $('group').replaceChildren(make('option', { value: '' }, t('allGroups')), ...groups.map((group) => make('option', { value: group }, group)));
    $('group').value = this.group;
    $('group').parentElement.hidden = groups.length === 0;
    this.rows.clear();
    this.showFound();
  },

  row(channel) {
    const logo = make('span', { class: 'logo', 'aria-hidden': 'true' }, [...channel.name][0] ?? '?');
    if (/^(https?:|data:image\/|\/)/i.test(channel.logo)) logo.append(logoImage(channel.logo, logo));
    const title = make('span', { class: 'on' });
    const bar = make('i');
    const text = make('span', { class: 'words' }, make('b', {}, channel.name), title);
    const row = make('button', { type: 'button', class: 'channel' }, make('span', { class: 'number' }, String(channel.number)), logo, text, make('span', { class: 'gone-by', 'aria-hidden': 'true' }, bar));
    row.dataset.number = channel.number;
    if (channel === this.chosen) row.setAttribute('aria-current', 'true');
    return { node: make('li', {}, row), row, title, bar };
  },

  key(event) {
    if (event.key === 'Enter') {
      const [first] = this.found;
      if (first) this.choose(first);
      event.target.blur();
    } else if (event.key === 'ArrowDown') {
      $('channel-list').querySelector('button')?.focus();
    } else if (event.key === 'Escape') {
      event.target.value = '';
      this.showFound();
      event.target.blur();
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  },

  showFound() {
    this.found = findChannels(this.all, $('search').value, this.group);
    $('channel-list').replaceChildren();
    this.grow(ROWS);
    $('nothing').hidden = this.found.length > 0 || this.all.length === 0;
    setText($('many'), this.found.length === this.all.length ? t('all', this.all.length) : t('many', this.found.length, this.all.length));
  },

  // Shows rows up to so many.
  grow(count) {
    const shown = $('channel-list').childElementCount;
    const more = this.found.slice(shown, count);
    for (const channel of more) if (!this.rows.has(channel)) this.rows.set(channel, this.row(channel));
    $('channel-list').append(...more.map((channel) => this.rows.get(channel).node));
    this.showProgrammes(more);
  },

  growNear() {
    const { scrollTop, clientHeight, scrollHeight } = $('channel-list').parentElement;
    if (scrollHeight - scrollTop - clientHeight < NEAR) this.grow($('channel-list').childElementCount + ROWS);
  },

  showProgrammes(channels = this.found.slice(0, $('channel-list').childElementCount)) {
    const now = Date.now();
    for (const channel of channels) {
      const { title, bar, row } = this.rows.get(channel);
      const programme = programmeAt(this.guide.told(channel), now);
      const name = programme?.title ?? '';
      setText(title, name);
      setData(row, 'told', String(Boolean(name)));
      if (name) bar.style.width = `${((now - programme.start) / (programme.stop - programme.start)) * 100}%`;
    }
  },

  showChosen(channel) {
    if (this.chosen === channel) return;
    this.rows.get(this.chosen)?.row.removeAttribute('aria-current');
    this.chosen = channel;
    this.grow(this.found.indexOf(channel) + ROWS);
    const row = this.rows.get(channel)?.row;
    row?.setAttribute('aria-current', 'true');
    if (row) reveal(row, $('channel-list').parentElement);
  },

  // The channel so many places further in what is listed, round the end.
  neighbour(step) {
    const within = this.found.length ? this.found : this.all;
    const index = within.indexOf(this.chosen);
    const next = index < 0 ? 0 : (index + step + within.length) % within.length;
    return within[next];
  },
};

// Brings a row into view if it is not. Only the list is moved, never the page.
function reveal(row, list) {
  const [box, frame] = [row.getBoundingClientRect(), list.getBoundingClientRect()];
  if (box.top < frame.top || box.bottom > frame.bottom) list.scrollTop += box.top - frame.top - list.clientHeight / 2;
}

// The logo lies over the first letter of the name, which stays where there is none to be had.
function logoImage(url, place) {
  const image = make('img', { alt: '', loading: 'lazy', decoding: 'async', referrerPolicy: 'no-referrer' });
  image.addEventListener('load', () => place.classList.add('drawn'));
  image.addEventListener('error', () => image.remove());
  image.src = url;
  return image;
}
