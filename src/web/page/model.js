// What is known of the server: the latest snapshot, and the past that the page gathers itself.
// Times are in milliseconds of the server's clock, so that pauses told by the server line up with samples.
const HISTORY_MS = 120_000;
const TOTAL_HISTORY_MS = 300_000;
const SAMPLE_MS = 900;
// A client that lost packets counts as congested for so long after the last of them, a channel as losing …
const CONGESTED_MS = 8_000;
// … and one whose source was paused as throttled: between two pauses it is the same case.
const THROTTLED_MS = 5_000;
const LEFT_MAX = 50;
// The watermarks as parts of the limit, from servers that do not tell them.
const HIGH = 0.75;
const LOW = 0.5;

const MULTICAST_STATES = [4, 6];
const STREAMING_STATES = [4, 6, 20, 25, 29];
const SEVERITY = ['congested', 'throttled', 'starting', 'flowing', 'left'];

// Samples of one value over time; the oldest go.
class Series {
  constructor(span) {
    this.span = span;
    this.times = [];
    this.values = [];
  }

  // State changes come between the samples of every second; they only refresh the latest one.
  push(time, value) {
    const last = this.times.length - 1;
    if (last > 0 && time - this.times[last - 1] < SAMPLE_MS) {
      this.values[last] = value;
      this.times[last] = time;
      return;
    }
    this.times.push(time);
    this.values.push(value);
    let gone = 0;
    while (this.times[gone + 1] < time - this.span) gone += 1;
    if (gone > 0) {
      this.times.splice(0, gone);
      this.values.splice(0, gone);
    }
  }

  max(from = -Infinity) {
    let max = 0;
    for (let i = 0; i < this.times.length; i += 1) if (this.times[i] >= from) max = Math.max(max, this.values[i]);
    return max;
  }
}

// One client, from its first appearance until after it has left.
class Client {
  constructor(data, now) {
    this.id = data.clientId;
    this.since = now - number(data.durationMs);
    this.bandwidth = new Series(HISTORY_MS);
    this.queue = new Series(HISTORY_MS);
    this.drops = [];
    this.pauses = [];
    this.droppedAt = -Infinity;
    this.pausedAt = -Infinity;
    this.search = `${data.clientAddr} ${data.serviceUrl} ${data.clientId}`.toLowerCase();
    this.data = null;
    this.update(data, now);
  }

  update(data, now) {
    const before = this.data;
    this.data = data;
    this.limit = number(data.queueLimitBytes);
    this.fill = this.limit > 0 ? number(data.queueBytes) / this.limit : 0;
    this.high = data.queueHighBytes && this.limit > 0 ? data.queueHighBytes / this.limit : HIGH;
    this.low = data.queueLowBytes && this.limit > 0 ? data.queueLowBytes / this.limit : LOW;
    this.bandwidth.push(now, number(data.currentBandwidth));
    this.queue.push(now, this.fill);
    this.noteDrops(before, now);
    this.notePauses(before, now);
    this.flow = this.judge(now);
  }

  noteDrops(before, now) {
    const data = this.data;
    const lost = number(data.droppedBytes) - number(before?.droppedBytes);
    // Of drops before the page was opened only the sum is known; a slow client is still losing.
    if (lost > 0 && (before || (data.slow && this.fill > this.low))) {
      this.droppedAt = now;
      if (before) this.drops.push(now);
    }
    while (this.drops[0] < now - HISTORY_MS) this.drops.shift();
  }

  notePauses(before, now) {
    const data = this.data;
    if (Array.isArray(data.pauseHistory)) {
      this.pauses = data.pauseHistory.map(([start, length]) => [number(start), number(length)]);
      if (data.upstreamPaused) this.closeOpenPause(now);
    } else if (data.upstreamPaused) {
      if (!before?.upstreamPaused) this.pauses.push([now, 0]);
      this.closeOpenPause(now);
    }
    while (this.pauses.length > 0 && this.pauses[0][0] + this.pauses[0][1] < now - HISTORY_MS) this.pauses.shift();
    if (data.upstreamPaused || (before && number(data.pausedMs) > number(before.pausedMs))) this.pausedAt = now;
  }

  // The pause that goes on reaches up to now.
  closeOpenPause(now) {
    const last = this.pauses.at(-1);
    if (last) last[1] = Math.max(last[1], now - last[0]);
  }

  judge(now) {
    if (now - this.droppedAt < CONGESTED_MS) return 'congested';
    if (now - this.pausedAt < THROTTLED_MS) return 'throttled';
    return STREAMING_STATES.includes(this.data.state) ? 'flowing' : 'starting';
  }

  // A live source cannot wait, so a full queue there costs packets.
  isLive() {
    return MULTICAST_STATES.includes(this.data.state);
  }
}

const model = {
  snapshot: null,
  now: 0,
  clients: new Map(),
  left: [],
  flows: { flowing: 0, throttled: 0, congested: 0, starting: 0 },
  total: new Series(TOTAL_HISTORY_MS),
  channels: new Map(),

  ingest(snapshot) {
    const restarted = this.snapshot && this.snapshot.serverStartTime !== snapshot.serverStartTime;
    if (restarted) this.forget();
    this.snapshot = snapshot;
    const now = number(snapshot.serverStartTime) + number(snapshot.uptimeMs);
    this.now = now;
    this.total.push(now, number(snapshot.totalBandwidth));
    this.ingestClients(snapshot.clients ?? [], now);
    this.ingestChannels(snapshot.channels ?? [], now);
  },

  ingestClients(list, now) {
    const present = new Set();
    const flows = { flowing: 0, throttled: 0, congested: 0, starting: 0 };
    for (const data of list) {
      present.add(data.clientId);
      const known = this.clients.get(data.clientId);
      if (known) known.update(data, now);
      else this.clients.set(data.clientId, new Client(data, now));
      flows[this.clients.get(data.clientId).flow] += 1;
    }
    for (const [id, client] of this.clients) if (!present.has(id)) this.retire(id, client);
    this.flows = flows;
  },

  retire(id, client) {
    client.flow = 'left';
    client.data = { ...client.data, currentBandwidth: 0, queueBytes: 0, slow: 0, upstreamPaused: 0 };
    client.fill = 0;
    client.bandwidth.push(this.now, 0);
    client.queue.push(this.now, 0);
    this.clients.delete(id);
    this.left.unshift(client);
    this.left.length = Math.min(this.left.length, LEFT_MAX);
  },

  ingestChannels(list, now) {
    const present = new Set();
    for (const data of list) {
      const id = channelId(data);
      present.add(id);
      const channel = this.channels.get(id) ?? { id, bitrate: new Series(HISTORY_MS), lostAt: -Infinity };
      if (channel.data && number(data.lost) > number(channel.data.lost)) channel.lostAt = now;
      channel.isLosing = now - channel.lostAt < CONGESTED_MS;
      channel.data = data;
      channel.bitrate.push(now, number(data.bitrate) / 8);
      this.channels.set(id, channel);
    }
    for (const id of this.channels.keys()) if (!present.has(id)) this.channels.delete(id);
  },

  // A new server knows nothing of the clients of the old one.
  forget() {
    for (const [id, client] of this.clients) this.retire(id, client);
    this.channels.clear();
    this.total = new Series(TOTAL_HISTORY_MS);
  },

  find(id) {
    return this.clients.get(id) ?? this.left.find((client) => client.id === id);
  },
};

function channelId(data) {
  return `${data.workerId} ${data.group} ${data.source} ${data.interface}`;
}
