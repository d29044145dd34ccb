// The table of clients, its filter and its search.
const SPARK = { width: 70, height: 30, range: 60_000 };
const QUEUE = { width: 156, height: 34, range: 60_000 };
const FILTERS = ['all', 'flowing', 'throttled', 'congested', 'starting', 'left'];

const clientView = {
  filter: 'all',
  words: [],
  table: null,

  start() {
    this.table = new Table($('client-table'), {
      name: 'clients',
      columns: this.columns(),
      id: (client) => client.id,
      onOpen: (client) => inspector.open(client.id),
      empty: (hasAny) => this.emptyText(hasAny),
      sort: { key: 'state', falling: false },
    });
    this.table.onSort = () => this.showSorter();
    $('client-search').addEventListener('input', (event) => {
      this.words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
      this.show();
    });
    $('client-sort').addEventListener('change', (event) => {
      const [key, order] = event.target.value.split(' ');
      this.table.sortBy(key, order === 'falling');
    });
    this.translate();
  },

  emptyText(hasAny) {
    if (!model.snapshot) return ['loading'];
    return hasAny ? ['noMatch', 'noMatchHint'] : ['noClients', 'noClientsHint'];
  },

  columns() {
    return [
      { key: 'state', title: 'state', value: (client) => SEVERITY.indexOf(client.flow), build: this.stateCell },
      { key: 'address', title: 'client', value: (client) => client.data.clientAddr, build: this.addressCell },
      textColumn('stream', 'stream', (client) => client.data.serviceUrl, (client) => client.data.serviceUrl),
      { key: 'bandwidth', title: 'bandwidth', value: (client) => number(client.data.currentBandwidth), build: this.bandwidthCell, numeric: true },
      { key: 'queue', title: 'queue', value: (client) => client.fill, build: this.queueCell, numeric: true },
      textColumn('sent', 'sent', (client) => number(client.data.bytesSent), (client) => bytes(client.data.bytesSent), true),
      textColumn('time', 'time', (client) => -client.since, (client) => duration(client.data.durationMs), true),
      { key: 'action', title: 'action', build: this.actionCell },
    ];
  },

  stateCell(cell) {
    const mark = badge();
    const slow = make('small', { hidden: true });
    cell.append(mark.node, slow);
    return (client) => {
      mark.show(client.flow);
      slow.hidden = !client.data.slow;
      setText(slow, t('slow'));
      setData(cell.parentNode, 'flow', client.flow);
    };
  },

  // The button is what the keyboard and a screen reader open the details with; the mouse may use the whole row.
  addressCell(cell, row) {
    const open = make('button', { type: 'button', class: 'open', on: { click: () => inspector.open(row.item.id) } });
    cell.append(open);
    return (client) => {
      setText(open, client.data.clientAddr);
      setLabel(open, t('details', client.data.clientAddr));
      setData(cell.parentNode, 'open', String(inspector.id === client.id));
      const title = client.data.serviceUrl;
      const stream = cell.nextSibling;
      if (stream && stream.title !== title) stream.title = title;
    };
  },

  bandwidthCell(cell) {
    const value = make('span');
    const canvas = make('canvas', { class: 'spark', role: 'img' });
    cell.append(canvas, value);
    return (client) => {
      const text = rate(client.data.currentBandwidth);
      setText(value, text);
      setLabel(canvas, t('bandwidthAlt', text));
      drawRate(canvas, client.bandwidth, model.now, { ...SPARK, colour: client.flow === 'left' ? palette.dim : palette.accent });
    };
  },

  queueCell(cell) {
    const canvas = make('canvas', { class: 'queue', role: 'img' });
    const fill = make('b');
    const note = make('small');
    cell.append(canvas, make('span', {}, fill, note));
    return (client) => {
      setText(fill, percent(client.fill));
      setText(note, lossNote(client.data));
      setLabel(canvas, t('queueAlt', Math.round(client.fill * 100), t(client.flow)));
      drawQueue(canvas, client, model.now, QUEUE);
    };
  },

  actionCell(cell, row) {
    const button = make('button', { type: 'button', class: 'tool icon', on: { click: () => actions.disconnect(row.item) } }, icon('disconnect'));
    cell.append(button);
    return (client) => {
      const text = `${t('disconnect')} ${client.data.clientAddr}`;
      setLabel(button, text);
      button.title = t('disconnect');
      button.hidden = client.flow === 'left';
    };
  },

  translate() {
    const chips = FILTERS.map((filter) => make('button', {
      type: 'button', class: 'chip', 'data-flow': filter,
      on: { click: () => this.choose(filter) },
    }, make('span', {}, t(filter)), make('b')));
    $('chips').replaceChildren(...chips);
    const options = [];
    for (const column of this.table.columns.filter((column) => column.value)) {
      for (const order of ['rising', 'falling']) {
        const arrow = order === 'rising' ? '↑' : '↓';
        options.push(make('option', { value: `${column.key} ${order}` }, `${t(column.title)} ${arrow}`));
      }
    }
    $('client-sort').replaceChildren(...options);
    this.showSorter();
    this.table.translate();
  },

  showSorter() {
    const { key, falling } = this.table.sort;
    $('client-sort').value = `${key} ${falling ? 'falling' : 'rising'}`;
  },

  // The chosen filter again means: all.
  choose(filter) {
    this.filter = this.filter === filter ? 'all' : filter;
    this.show();
    this.showChips();
  },

  show() {
    const source = this.filter === 'left' ? model.left : [...model.clients.values()];
    const wanted = (client) => (this.filter === 'all' || client.flow === this.filter) && this.matches(client);
    this.table.show(source.filter(wanted), source.length > 0);
    const omitted = number(model.snapshot?.clientsOmitted);
    $('omitted').hidden = omitted === 0;
    setText($('omitted'), t('omitted', count(omitted)));
  },

  matches(client) {
    if (this.words.length === 0) return true;
    const text = `${client.search} ${t(client.flow).toLowerCase()} ${stateName(client.data.state).toLowerCase()}`;
    return this.words.every((word) => text.includes(word));
  },

  showChips() {
    for (const chip of $('chips').children) {
      const filter = chip.dataset.flow;
      const many = filter === 'all' ? model.clients.size : filter === 'left' ? model.left.length : model.flows[filter];
      setText(chip.lastChild, many);
      chip.setAttribute('aria-pressed', String(this.filter === filter));
      chip.hidden = many === 0 && filter !== 'all' && this.filter !== filter;
    }
  },
};

// What a client missed or how long its source waited for it, in a few words.
function lossNote(data) {
  if (number(data.droppedBytes) > 0) return t('skipped', bytes(data.droppedBytes));
  if (number(data.pausedMs) > 0) return t('pausedFor', span(data.pausedMs));
  return bytes(data.queueBytes);
}
