"use strict";
// What the page does: opens sockets, follows them, draws. Everything it shows is a number somewhere as text too.

const STALL_MS = 1000;          // blocked for so long is a stall
const POLL_MS = 20;             // how often a sender is looked at
const DRAW_MS = 100;            // how often numbers and chart are shown
const SAMPLE_MS = 500;          // over how long rates are taken
const WINDOW_S = 60;            // how much of the past is drawn
const COLOURS = ["#2a7de1", "#e1672a", "#2aa35b", "#a35bd0", "#c9a227", "#d0355b", "#18a0a8", "#7a7a7a"];

const element = (id) => document.getElementById(id);
const colour = (lane) => COLOURS[lane.number % COLOURS.length];
const size = (bytes) => {
  if (bytes === null) return "?";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) { bytes /= 1024; unit += 1; }
  return `${unit ? bytes.toFixed(bytes < 10 ? 1 : 0) : bytes} ${units[unit]}`;
};

let experiment = null;

for (const [name, value] of new URLSearchParams(location.search)) {
  if (["payload", "rate", "total", "sockets", "direction"].includes(name)) element(name).value = value;
}
const websocketUrl = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`;
element("target").textContent = websocketUrl;

class Experiment {
  constructor(options) {
    this.options = options;
    this.run = Array.from(crypto.getRandomValues(new Uint8Array(8)), (b) => b.toString(16).padStart(2, "0")).join("");
    this.holds = false;
    this.heldAt = null;
    this.lanes = Array.from({ length: options.sockets }, (_, number) =>
      options.direction === "up" ? new Sender(this, number) : new Reader(this, number));
    this.timer = setInterval(() => this.lanes.forEach((lane) => lane.poll()), POLL_MS);
    this.samples = setInterval(() => this.lanes.forEach((lane) => lane.sample()), SAMPLE_MS);
  }

  hello(number) {
    const { payload, rate, total, direction } = this.options;
    return {
      v: 1, run: this.run, conn: number, dir: direction, seed: number, verify: false, payload,
      total: payload * total, sample_ms: 100, rate_msgs: direction === "down" ? rate : 0,
      schedule: direction === "down" ? [{ op: "read", ms: 86400000 }, { op: "drain" }] : [{ op: "drain" }],
      payloadSize: payload, requestsTotal: total,
    };
  }

  command(name) {
    return fetch(`/probe/control?run=${this.run}&cmd=${name}`, { method: "POST" }).catch(() => {});
  }

  hold(holds) {
    this.holds = holds;
    if (holds) {
      this.heldAt = performance.now();
      this.lanes.forEach((lane) => lane.beginHold());
    }
    if (this.options.direction === "up") this.command(holds ? "hold" : "resume");
  }

  stop() {
    if (this.holds) this.hold(false);
    this.lanes.forEach((lane) => lane.stop());
    this.command("stop");
  }

  get isOver() { return this.lanes.every((lane) => lane.isOver); }

  verdict() {
    if (this.heldAt === null) return "Press Hold while bytes flow.";
    const seconds = (performance.now() - this.heldAt) / 1000;
    const held = this.lanes.filter((lane) => lane.heldBytes !== null);
    const stalled = held.filter((lane) => lane.stalledInHold);
    const absorbed = Math.max(0, ...held.map((lane) => lane.absorbedInHold));
    if (held.length > 0 && stalled.length === held.length) {
      return `Back pressure: YES. Every sender stalled in the hold, after at most ${size(absorbed)} more.`;
    }
    return this.holds
      ? `Held for ${seconds.toFixed(0)} s; ${stalled.length} of ${held.length} senders have stalled, up to ${size(absorbed)} absorbed.`
      : `Back pressure: not shown. ${stalled.length} of ${held.length} senders stalled in the hold; up to ${size(absorbed)} absorbed.`;
  }

  close() { clearInterval(this.timer); clearInterval(this.samples); }
}

class Lane {
  constructor(experiment, number) {
    this.experiment = experiment;
    this.number = number;
    this.sent = 0;
    this.consumed = 0;
    this.unread = null;
    this.buffered = 0;
    this.state = "connecting";
    this.isOver = false;
    this.stillSince = performance.now();
    this.longestStall = 0;
    this.heldBytes = null;
    this.absorbedInHold = 0;
    this.stalledInHold = false;
    this.history = [];
    this.stalls = [];
    this.isStalled = false;
    this.last = { at: performance.now(), sent: 0, consumed: 0 };
  }

  beginHold() {
    this.heldBytes = this.left();
    this.absorbedInHold = 0;
    this.stalledInHold = false;
  }

  /// `moves` says whether the sender got on since the last look. What has not begun cannot stall.
  note(moves) {
    const now = performance.now();
    if (moves || this.isOver || this.sent === 0) this.stillSince = now;
    const still = now - this.stillSince;
    const wasStalled = this.isStalled;
    this.isStalled = still >= STALL_MS;
    if (this.isStalled) {
      this.longestStall = Math.max(this.longestStall, still);
      if (!wasStalled) this.stalls.push({ from: this.stillSince, to: now });
      this.stalls.at(-1).to = now;
    }
    if (this.experiment.holds && this.heldBytes !== null) {
      this.absorbedInHold = this.left() - this.heldBytes;
      this.stalledInHold ||= this.isStalled;
    }
  }

  /// Notes the rates since the last time, and forgets what is no longer drawn.
  sample() {
    const at = performance.now();
    const rate = (name) => (this[name] - this.last[name]) * 1000 / Math.max(1, at - this.last.at);
    this.history.push({ at, sent: rate("sent"), consumed: rate("consumed"), buffered: this.buffered });
    this.last = { at, sent: this.sent, consumed: this.consumed };
    const oldest = at - (WINDOW_S + 1) * 1000;
    while (this.history[0].at < oldest) this.history.shift();
    while (this.stalls.length > 0 && this.stalls[0].to < oldest) this.stalls.shift();
  }

  end(state) { this.isOver = true; this.state = state; }
}

/// Sends over a WebSocket; the server is the slow reader. It closes behind its report of the last byte: a browser
/// takes no report any more once the page has closed.
class Sender extends Lane {
  constructor(experiment, number) {
    super(experiment, number);
    const { payload } = experiment.options;
    this.bytes = new Uint8Array(payload);
    for (let at = 0; at < payload; at += 65536) crypto.getRandomValues(this.bytes.subarray(at, at + 65536));
    this.messages = 0;
    this.lastBuffered = 0;
    this.socket = new WebSocket(websocketUrl);
    this.socket.onopen = () => {
      this.socket.send(JSON.stringify(experiment.hello(number)));
      this.state = "open";
      this.begunAt = performance.now();
    };
    this.socket.onmessage = (event) => {
      const report = JSON.parse(event.data);
      if ("consumed" in report) [this.consumed, this.unread] = [report.consumed, report.inq];
      else if (report.ok === false) this.state = report.error;
    };
    this.socket.onclose = (event) => this.end(`closed (${event.code})`);
  }

  /// Bytes that have left the browser.
  left() { return this.sent - this.buffered; }

  poll() {
    if (this.socket.readyState !== WebSocket.OPEN) return;
    const { payload, rate, total } = this.experiment.options;
    const room = Math.max(2 * payload, 1 << 20);
    const due = rate > 0 ? Math.floor((performance.now() - this.begunAt) / 1000 * rate) + 1 : Infinity;
    const wanted = Math.min(due, total > 0 ? total : Infinity);
    let turn = 0;
    while (this.messages < wanted && this.socket.bufferedAmount + payload <= room && turn < 4 * room) {
      this.socket.send(this.bytes);
      this.messages += 1;
      this.sent += payload;
      turn += payload;
    }
    this.buffered = this.socket.bufferedAmount;
    this.note(this.buffered === 0 || this.buffered < this.lastBuffered || turn > 0);
    this.lastBuffered = this.buffered;
  }

  stop() { this.socket.close(1000); }
}

/// Receives a response; this page is the slow reader, by not reading. Browsers hold some megabytes of their own.
class Reader extends Lane {
  constructor(experiment, number) {
    super(experiment, number);
    this.abort = new AbortController();
    this.wake = () => {};
    this.receive().then(() => this.end("done"), (error) => this.end(String(error)));
  }

  /// What the server has sent.
  left() { return this.sent; }

  async receive() {
    const hello = btoa(JSON.stringify(this.experiment.hello(this.number)));
    const probe = hello.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
    const response = await fetch("/probe/down", { headers: { "X-Probe": probe }, signal: this.abort.signal });
    if (!response.ok) throw new Error(await response.text());
    const reader = response.body.getReader();
    this.state = "open";
    for (;;) {
      while (this.experiment.holds) await new Promise((resolve) => { this.wake = resolve; });
      const { done, value } = await reader.read();
      if (done) return;
      this.consumed += value.length;
    }
  }

  poll() {
    if (!this.experiment.holds) this.wake();
    const view = views.get(`${this.experiment.run}/${this.number}`);
    const sent = Math.max(this.sent, view?.tx?.accepted ?? 0, this.consumed);
    // The server speaks four times a second only; in between nothing is known.
    this.note(sent > this.sent || view?.tx?.blocked === null);
    this.sent = sent;
    this.unread = view?.tx?.unsent ?? null;
  }

  stop() { this.wake(); this.abort.abort(); }
}

// The server's view of everything, from whatever program.
const views = new Map();
const events = new EventSource("/events");
const seen = new Map();
events.onmessage = (event) => {
  const run = JSON.parse(event.data);
  const now = performance.now();
  seen.set(run.run, { now, run });
  for (const view of run.conns) views.set(`${run.run}/${view.conn}`, view);
  if (views.size > 4096) views.clear();
};

/// A row of a table; `mark` is the colour in front of it.
function row(cells, className, mark) {
  const tr = document.createElement("tr");
  tr.className = className;
  for (const [index, text] of cells.entries()) {
    const td = document.createElement("td");
    td.textContent = text;
    if (index === 0 && mark) td.style.borderLeft = `.4rem solid ${mark}`;
    if (index === cells.length - 1) td.className = "text";
    tr.append(td);
  }
  return tr;
}

function show() {
  if (experiment) {
    element("verdict").textContent = experiment.verdict();
    element("rows").replaceChildren(...experiment.lanes.map((lane) => row([
      lane.number, size(lane.sent), size(lane.consumed), size(Math.max(0, lane.sent - lane.consumed)),
      size(lane.buffered), size(lane.unread), `${(lane.longestStall / 1000).toFixed(1)} s`,
      lane.isStalled && !lane.isOver ? "stalled" : lane.state,
    ], lane.isStalled && !lane.isOver ? "stalled" : "", colour(lane))));
    if (experiment.isOver) idle();
  }
  // A run that is over is not told of again.
  const now = performance.now();
  for (const [name, value] of seen) if (now - value.now > 3000) seen.delete(name);
  const runs = Array.from(seen.values(), (value) => value.run);
  const all = runs.flatMap((run) => run.conns.map((view) => [run.run, view]));
  element("watch").replaceChildren(...all.slice(0, 200).map(([run, view]) => row([
    run, view.conn, view.dir, size(view.rx?.consumed ?? view.tx?.accepted ?? null),
    size(view.rx?.inq ?? view.tx?.unsent ?? null),
    view.done ? "done" : view.rx?.state ?? (view.tx?.blocked ? "blocked" : "sending"),
  ], view.tx?.blocked?.length >= 1 || view.rx?.state === "hold" ? "stalled" : "")));
  draw();
}

function draw() {
  const canvas = element("chart");
  const scale = devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  const [columns, rows] = [Math.round(width * scale), Math.round(height * scale)];
  if (canvas.width !== columns || canvas.height !== rows) [canvas.width, canvas.height] = [columns, rows];
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  const lanes = experiment ? experiment.lanes : [];
  const now = performance.now();
  const points = lanes.flatMap((lane) => lane.history);
  const top = points.reduce((most, point) => Math.max(most, point.sent, point.consumed, point.buffered), 1024);
  const x = (at) => width - (now - at) / 1000 / WINDOW_S * width;
  const y = (value) => height - 20 - value / top * (height - 40);
  pen.fillStyle = "#c3333333";
  for (const stall of stretches(lanes)) {
    pen.fillRect(x(stall.from), 0, Math.max(1, x(stall.to) - x(stall.from)), height);
  }
  const style = getComputedStyle(canvas);
  pen.strokeStyle = style.borderTopColor;
  pen.lineWidth = 1;
  pen.setLineDash([]);
  for (const part of [0, 0.5, 1]) {
    pen.beginPath();
    pen.moveTo(0, y(top * part));
    pen.lineTo(width, y(top * part));
    pen.stroke();
  }
  pen.lineWidth = 1.5;
  for (const lane of lanes) {
    pen.strokeStyle = colour(lane);
    for (const [name, dash] of [["sent", []], ["consumed", [6, 4]], ["buffered", [1, 4]]]) {
      pen.setLineDash(dash);
      pen.beginPath();
      for (const point of lane.history) pen.lineTo(x(point.at), y(point[name]));
      pen.stroke();
    }
  }
  pen.setLineDash([]);
  pen.fillStyle = style.color;
  pen.font = "12px system-ui, sans-serif";
  pen.fillText(`${size(Math.round(top))} per second`, 8, y(top) - 5);
  pen.fillText(size(Math.round(top / 2)), 8, y(top / 2) - 5);
  pen.fillText(`${WINDOW_S} s ago`, 8, height - 6);
  pen.textAlign = "right";
  pen.fillText("now", width - 8, height - 6);
  pen.textAlign = "left";
}

/// When any socket was stalled: stretches of time that do not overlap, so that none is shaded twice.
function stretches(lanes) {
  const merged = [];
  for (const stall of lanes.flatMap((lane) => lane.stalls).sort((one, other) => one.from - other.from)) {
    const last = merged.at(-1);
    if (last && stall.from <= last.to) last.to = Math.max(last.to, stall.to);
    else merged.push({ ...stall });
  }
  return merged;
}

function idle() {
  experiment.close();
  element("start").disabled = false;
  element("hold").disabled = element("stop").disabled = true;
  element("hold").setAttribute("aria-pressed", "false");
}

element("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const number = (id) => Math.max(0, Math.floor(Number(element(id).value) || 0));
  experiment = new Experiment({
    payload: Math.min(Math.max(1, number("payload")), 1 << 24), rate: number("rate"), total: number("total"),
    sockets: Math.min(Math.max(1, number("sockets")), 64), direction: element("direction").value,
  });
  element("start").disabled = true;
  element("hold").disabled = element("stop").disabled = false;
});
element("hold").addEventListener("click", () => {
  experiment.hold(!experiment.holds);
  element("hold").setAttribute("aria-pressed", String(experiment.holds));
});
element("stop").addEventListener("click", () => experiment.stop());
setInterval(show, DRAW_MS);
