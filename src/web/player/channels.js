// The list of channels: search, groups, what is on, and which one is chosen.

const channelList = {
  all: [],
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
    setInterval(() => this.showProgrammes(), 20_000);
  },

  fill(channels) {
    this.all = channels;
    const groups = [...new Set(channels.flatMap((channel) => channel.groups))];
    if (!groups.includes(this.group)) this.group = '';
    $('group').replaceChildren(make('option', { value: '' }, t('allGroups')), ...groups.map((group) => make('option', { value: group }, group)));
    $('group').value = this.group;
    $('group').parentElement.hidden = groups.length === 0;
    this.rows = new Map(channels.map((channel) => [channel, this.row(channel)]));
    this.rows.get(this.chosen)?.row.setAttribute('aria-current', 'true');
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
    $('channel-list').replaceChildren(...this.found.map((channel) => this.rows.get(channel).node));
    $('nothing').hidden = this.found.length > 0 || this.all.length === 0;
    setText($('many'), this.found.length === this.all.length ? t('all', this.all.length) : t('many', this.found.length, this.all.length));
    this.showProgrammes();
  },

  showProgrammes() {
    const now = Date.now();
    for (const channel of this.found ?? []) {
      const { title, bar, row } = this.rows.get(channel);
      const programme = this.guide.at(channel, now);
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
    const row = this.rows.get(channel)?.row;
    row?.setAttribute('aria-current', 'true');
    // Only the list is moved, never the page.
    const list = $('channel-list').parentElement;
    if (!row || !list.clientHeight) return;
    const top = row.offsetTop - list.offsetTop;
    if (top < list.scrollTop || top + row.offsetHeight > list.scrollTop + list.clientHeight) list.scrollTop = top - list.clientHeight / 2;
  },

  // The channel so many places further in what is listed, round the end.
  neighbour(step) {
    const within = this.found?.length ? this.found : this.all;
    const index = within.indexOf(this.chosen);
    const next = index < 0 ? 0 : (index + step + within.length) % within.length;
    return within[next];
  },
};

// The logo lies over the first letter of the name, which stays where there is none to be had.
function logoImage(url, place) {
  const image = make('img', { alt: '', loading: 'lazy', decoding: 'async', referrerPolicy: 'no-referrer' });
  image.addEventListener('load', () => place.classList.add('drawn'));
  image.addEventListener('error', () => image.remove());
  image.src = url;
  return image;
}
