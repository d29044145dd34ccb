// The other tables: channels, upstreams, workers.
const channelView = {
  table: null,

  start() {
    const figure = (key, title) => textColumn(key, title, (channel) => number(channel.data[key]), (channel) => count(channel.data[key]), true);
    this.table = new Table($('channel-table'), {
      name: 'channels',
      columns: [
        { key: 'state', title: 'state', value: (channel) => channelState(channel), build: this.stateCell },
        textColumn('group', 'group', (channel) => channel.data.group, (channel) => channelName(channel.data)),
        figure('subscribers', 'subscribers'),
        { key: 'bitrate', title: 'bitrate', value: (channel) => number(channel.data.bitrate), build: this.rateCell, numeric: true },
        figure('receivedPackets', 'received'),
        { key: 'lost', title: 'missing', value: (channel) => number(channel.data.lost), build: this.lostCell, numeric: true },
        figure('recovered', 'recovered'),
        figure('reordered', 'reordered'),
        textColumn('age', 'age', (channel) => number(channel.data.joinAgeMs), (channel) => duration(channel.data.joinAgeMs), true),
      ],
      id: (channel) => channel.id,
      empty: () => (model.snapshot ? ['noChannels', 'noChannelsHint'] : ['loading']),
      sort: { key: 'group', falling: false },
    });
  },

  stateCell(cell) {
    const tag = make('span', { class: 'tag' });
    cell.append(tag);
    return (channel) => {
      const state = channelState(channel);
      setText(tag, t(state));
      setData(tag, 'state', state);
    };
  },

  rateCell(cell) {
    const canvas = make('canvas', { class: 'spark', role: 'img' });
    const value = make('span');
    cell.append(canvas, value);
    return (channel) => {
      const text = rate(number(channel.data.bitrate) / 8);
      setText(value, text);
      setLabel(canvas, t('bandwidthAlt', text));
      drawRate(canvas, channel.bitrate, model.now, { ...SPARK, colour: palette.accent });
    };
  },

  lostCell(cell) {
    return (channel) => {
      const { lost, receivedPackets } = channel.data;
      const share = number(lost) / Math.max(1, number(lost) + number(receivedPackets));
      setText(cell, number(lost) > 0 ? `${count(lost)} (${(share * 100).toFixed(2)}\u00a0%)` : '0');
      setData(cell, 'bad', String(number(lost) > 0));
    };
  },

  show() {
    const list = [...model.channels.values()];
    this.table.show(list, list.length > 0);
  },
};

function channelState({ data, isLosing }) {
  if (isLosing) return 'losing';
  if (data.lingering) return 'lingering';
  return number(data.receivedPackets) > 0 ? 'running' : 'joining';
}

function channelName(data) {
  const place = data.interface ? ` (${data.interface})` : '';
  // Each worker receives a channel for its own clients, so the same one may be there several times.
  const worker = model.snapshot?.workers?.length > 1 ? ` · ${t('worker')} ${data.workerId}` : '';
  return (data.source ? `${data.source} → ` : '') + data.group + place + worker;
}

const upstreamView = {
  table: null,

  start() {
    this.table = new Table($('upstream-table'), {
      name: 'upstreams',
      columns: [
        { key: 'state', title: 'state', value: (upstream) => upstreamFlow(upstream), build: this.stateCell },
        textColumn('group', 'address', (upstream) => upstream.address, (upstream) => upstream.address),
        textColumn('transport', 'transport', (upstream) => upstream.transport, (upstream) => upstream.transport ?? '–'),
        textColumn('client', 'client', (upstream) => upstreamClient(upstream), (upstream) => upstreamClient(upstream)),
        textColumn('sent', 'inFlight', (upstream) => number(upstream.bytesInFlight), (upstream) => bytes(upstream.bytesInFlight), true),
        textColumn('age', 'time', (upstream) => number(upstream.ageMs), (upstream) => duration(upstream.ageMs), true),
      ],
      id: (upstream) => upstream.key,
      empty: () => (model.snapshot ? ['noUpstreams', 'noUpstreamsHint'] : ['loading']),
      sort: { key: 'group', falling: false },
    });
  },

  stateCell(cell) {
    const mark = badge();
    const detail = make('small', { class: 'quiet' });
    cell.append(mark.node, detail);
    return (upstream) => {
      mark.show(upstreamFlow(upstream));
      setText(detail, stateName(upstream.state));
    };
  },

  show() {
    const seen = new Map();
    const list = (model.snapshot?.upstreams ?? []).map((upstream) => {
      const name = `${upstream.workerId} ${upstream.clientId} ${upstream.address}`;
      const repeated = seen.get(name) ?? 0;
      seen.set(name, repeated + 1);
      return { ...upstream, key: `${name} ${repeated}` };
    });
    this.table.show(list, list.length > 0);
  },
};

function upstreamFlow(upstream) {
  if (upstream.paused) return 'throttled';
  return STREAMING_STATES.includes(upstream.state) ? 'flowing' : 'starting';
}

function upstreamClient(upstream) {
  return model.clients.get(upstream.clientId)?.data.clientAddr || upstream.clientId || '–';
}

const workerView = {
  shown: '',

  show() {
    const workers = model.snapshot?.workers ?? [];
    if (workers.length === 0) {
      $('worker-cards').replaceChildren(emptyState(t(model.snapshot ? 'noWorkers' : 'loading'), ''));
      this.shown = '';
      return;
    }
    const shape = language + workers.map((worker) => worker.id).join();
    if (shape !== this.shown) {
      this.shown = shape;
      this.cards = workers.map(() => workerCard());
      $('worker-cards').replaceChildren(...this.cards.map((card) => card.node));
    }
    workers.forEach((worker, index) => this.cards[index].show(worker));
  },
};

function workerCard() {
  const title = make('h3');
  const pools = [meterLine('pool'), meterLine('controlPool')];
  const facts = factList(['pid', 'clients', 'bandwidth', 'sentTotal', 'channels', 'upstreams', 'dropped', 'pauses', 'restarts', 'connections', 'sends', 'blocked', 'noBuffers', 'batches', 'completions', 'copied', 'expansions', 'exhaustions']);
  const node = make('article', { class: 'card worker' }, title, ...pools.map((pool) => pool.node), facts.node);
  return {
    node,
    show(worker) {
      setText(title, `${t('worker')} ${worker.id}`);
      const { send = {}, pool = {}, controlPool = {} } = worker;
      pools[0].show(pool);
      pools[1].show(controlPool);
      facts.show({
        pid: worker.pid ? worker.pid : t('down'),
        clients: count(worker.activeClients), bandwidth: rate(worker.totalBandwidth), sentTotal: bytes(worker.totalBytes),
        channels: optional(worker.channels), upstreams: optional(worker.upstreams), connections: optional(worker.connections),
        dropped: optional(worker.droppedPackets), pauses: optional(worker.backpressureEvents), restarts: optional(worker.restarts),
        sends: count(send.total), blocked: count(send.eagain), noBuffers: count(send.enobufs), batches: count(send.batch),
        completions: count(send.completions), copied: count(send.copied),
        expansions: count(pool.expansions), exhaustions: count(pool.exhaustions),
      });
    },
  };
}

function meterLine(title) {
  const text = make('span', { class: 'quiet' });
  const bar = make('i');
  const node = make('div', { class: 'meter-line' }, make('b', {}, t(title)), text, make('div', { class: 'meter', 'aria-hidden': 'true' }, bar));
  return {
    node,
    show({ used, total, max }) {
      node.hidden = used === undefined;
      setText(text, t('poolText', count(used), count(total), count(max)));
      bar.style.width = Math.min(100, (number(used) / Math.max(1, number(max))) * 100) + '%';
    },
  };
}

// What only newer servers tell: null where it is missing.
const optional = (value) => (value === undefined ? null : count(value));

// A list of names and values; a value of null hides its line.
function factList(keys) {
  const lines = keys.map((key) => {
    const value = make('dd');
    return { key, value, node: make('div', { 'data-key': key }, make('dt', {}, t(key)), value) };
  });
  return {
    node: make('dl', { class: 'facts' }, ...lines.map((line) => line.node)),
    show(values) {
      for (const { key, value, node } of lines) {
        node.hidden = values[key] === null;
        setText(value, values[key] ?? '–');
      }
    },
  };
}
