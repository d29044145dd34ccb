// Everything about one client, beside the table; on a phone it covers the page.
const FACTS = ['stream', 'protocolState', 'since', 'sent', 'bandwidth', 'queueNow', 'queuePeak', 'dropped', 'pauses', 'worker', 'clientId'];
const INSPECTED_MS = 120_000;

const inspector = {
  id: null,

  start() {
    document.addEventListener('keydown', (event) => {
      if (event.key === 'Escape' && this.id && !document.querySelector('dialog[open]')) this.close();
    });
    addEventListener('resize', () => this.show());
  },

  open(id) {
    if (this.id === id) return this.close();
    this.id = id;
    this.opener = document.activeElement;
    this.build();
    $('inspector').hidden = false;
    document.body.classList.add('inspecting');
    this.show();
    clientView.table.render();
    this.title.focus({ preventScroll: true });
  },

  close() {
    this.id = null;
    $('inspector').hidden = true;
    document.body.classList.remove('inspecting');
    clientView.table.render();
    if (this.opener?.isConnected) this.opener.focus({ preventScroll: true });
  },

  build() {
    this.title = make('h2', { id: 'inspector-title', tabIndex: -1 });
    this.mark = badge();
    this.hint = make('p', { class: 'hint' });
    this.queue = make('canvas', { class: 'queue', role: 'img' });
    this.rate = make('canvas', { class: 'rate', role: 'img' });
    this.queueNote = make('span', { class: 'quiet' });
    this.highMark = make('span', { class: 'mark' });
    this.lowMark = make('span', { class: 'mark low' });
    this.rateNote = make('span', { class: 'quiet' });
    this.facts = factList(FACTS);
    this.button = make('button', {
      type: 'button', class: 'button danger', on: { click: () => actions.disconnect(model.find(this.id)) },
    }, t('disconnect'));
    const close = make('button', { type: 'button', class: 'tool icon', 'aria-label': t('close'), on: { click: () => this.close() } }, icon('disconnect'));
    const range = t('lastMinutes', INSPECTED_MS / 60_000);
    const plot = (title, note, canvas, ...more) => make('figure', {},
      make('figcaption', {}, make('b', {}, title), note, make('span', { class: 'range quiet' }, range)),
      make('div', { class: 'plot' }, canvas, ...more));
    $('inspector').replaceChildren(
      make('header', {}, make('div', {}, this.mark.node, this.title), close),
      this.hint,
      plot(t('queue'), this.queueNote, this.queue,
        this.highMark, this.lowMark),
      make('ul', { class: 'key' },
        make('li', { class: 'pause' }, make('i'), t('pauseLegend')), make('li', { class: 'drop' }, make('i'), t('dropLegend'))),
      plot(t('bandwidth'), this.rateNote, this.rate),
      this.facts.node,
      make('footer', {}, this.button));
    this.queueReadout = new Readout(this.queue, (time) => this.describeQueue(time));
    this.rateReadout = new Readout(this.rate, (time) => this.describeRate(time));
  },

  describeQueue(time) {
    const fill = sampleAt(model.find(this.id).queue, time);
    return fill === undefined ? '' : `${clock(time)}  ${percent(fill)}`;
  },

  describeRate(time) {
    const value = sampleAt(model.find(this.id).bandwidth, time);
    return value === undefined ? '' : `${clock(time)}  ${rate(value)}`;
  },

  show() {
    const client = this.id && model.find(this.id);
    if (!client) return;
    const { data } = client;
    setText(this.title, data.clientAddr);
    this.mark.show(client.flow);
    setText(this.hint, t(client.flow + 'Hint'));
    setText(this.highMark, t(client.isLive() ? 'skipMark' : 'pauseMark', percent(client.high)));
    setText(this.lowMark, t(client.isLive() ? 'wholeMark' : 'resumeMark', percent(client.low)));
    setData(this.highMark, 'live', String(client.isLive()));
    this.highMark.style.top = client.isLive() ? '.25rem' : `calc(${(1 - client.high) * 100}% - 1.125rem)`;
    this.lowMark.style.top = `calc(${(1 - client.low) * 100}% - 1.125rem)`;
    this.button.hidden = client.flow === 'left';
    setText(this.queueNote, percent(client.fill));
    setText(this.rateNote, rate(data.currentBandwidth));
    const size = (canvas) => ({ width: canvas.clientWidth, height: canvas.clientHeight, range: INSPECTED_MS, weight: 2 });
    setLabel(this.queue, t('queueAlt', Math.round(client.fill * 100), t(client.flow)));
    setLabel(this.rate, t('bandwidthAlt', rate(data.currentBandwidth)));
    this.queueReadout.area = drawQueue(this.queue, client, model.now, size(this.queue));
    this.rateReadout.area = drawRate(this.rate, client.bandwidth, model.now, { ...size(this.rate), colour: palette.accent });
    this.facts.show(this.values(client));
  },

  values({ data, limit }) {
    const events = number(data.backpressureEvents);
    const drops = number(data.droppedPackets);
    return {
      stream: data.serviceUrl,
      protocolState: stateName(data.state),
      since: duration(data.durationMs),
      sent: bytes(data.bytesSent),
      bandwidth: rate(data.currentBandwidth),
      queueNow: t('queueOf', bytes(data.queueBytes), bytes(limit)),
      queuePeak: bytes(data.queueBytesHighwater),
      dropped: number(data.droppedBytes) > 0 ? t('packets', count(drops), bytes(data.droppedBytes)) : t('none'),
      pauses: events > 0 ? t('pausesText', count(events), span(data.pausedMs)) : t('none'),
      worker: data.workerPid,
      clientId: data.clientId,
    };
  },
};
