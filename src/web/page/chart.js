// Charts on canvas: drawn only where they are seen, in the colours of the theme.
let palette = null;
let hatch = null;

function readPalette() {
  const style = getComputedStyle(document.documentElement);
  const names = ['ink', 'dim', 'line', 'card', 'accent', 'flow', 'amber', 'red', 'starting'];
  palette = Object.fromEntries(names.map((name) => [name, style.getPropertyValue('--' + name).trim()]));
  palette.flowing = palette.flow;
  palette.throttled = palette.amber;
  palette.congested = palette.red;
  palette.left = palette.dim;
  hatch = null;
}

// Diagonal lines, so that a pause can be told from a colour-blind eye's point of view as well.
function hatching(context) {
  if (hatch) return hatch;
  const tile = document.createElement('canvas');
  tile.width = tile.height = 6;
  const pen = tile.getContext('2d');
  pen.strokeStyle = palette.amber;
  pen.globalAlpha = 0.55;
  pen.lineWidth = 1.4;
  pen.beginPath();
  for (const shift of [-6, 0, 6]) {
    pen.moveTo(shift - 1, 7);
    pen.lineTo(shift + 7, -1);
  }
  pen.stroke();
  hatch = context.createPattern(tile, 'repeat');
  return hatch;
}

// Prepares a canvas for its size on the screen; returns the context in CSS pixels.
function surface(canvas, width, height) {
  const ratio = devicePixelRatio || 1;
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== h) {
    canvas.width = w;
    canvas.height = h;
  }
  const context = canvas.getContext('2d');
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

// Traces a series between `from` and `to`; false if there is nothing to show.
function trace(context, series, from, to, x, y) {
  const { times, values } = series;
  let begun = false;
  context.beginPath();
  for (let i = 0; i < times.length; i += 1) {
    if (i + 1 < times.length && times[i + 1] < from) continue;
    if (begun) context.lineTo(x(times[i]), y(values[i]));
    else context.moveTo(x(times[i]), y(values[i]));
    begun = true;
  }
  // Until the next sample the last one holds.
  if (begun) context.lineTo(x(to), y(values.at(-1)));
  return begun;
}

function fillTrace(context, series, area, colour, alpha) {
  const { from, to, x, y, bottom } = area;
  if (!trace(context, series, from, to, x, y)) return;
  context.lineJoin = 'round';
  context.strokeStyle = colour;
  context.lineWidth = area.weight;
  context.stroke();
  context.lineTo(x(to), bottom);
  context.lineTo(x(Math.max(from, series.times[0])), bottom);
  context.closePath();
  const shade = context.createLinearGradient(0, area.top, 0, bottom);
  shade.addColorStop(0, colour);
  shade.addColorStop(1, 'transparent');
  context.globalAlpha = alpha;
  context.fillStyle = shade;
  context.fill();
  context.globalAlpha = 1;
}

function drawRate(canvas, series, now, { width, height, range, colour = palette.flow, weight = 1.5 }) {
  const context = surface(canvas, width, height);
  const from = now - range;
  const max = Math.max(series.max(from), 1) * 1.15;
  const area = {
    from, to: now, top: 0, bottom: height, weight,
    x: (time) => ((time - from) / range) * width,
    y: (value) => height - 1 - (value / max) * (height - 3),
  };
  fillTrace(context, series, area, colour, 0.28);
  return area;
}

// The queue of one client: how full, the two watermarks, pauses of its source (hatched), packets skipped (red).
function drawQueue(canvas, client, now, { width, height, range, weight = 1.5 }) {
  const context = surface(canvas, width, height);
  const from = now - range;
  const area = {
    from, to: now, top: 0, bottom: height, weight,
    x: (time) => ((time - from) / range) * width,
    y: (fill) => height - Math.min(fill, 1.02) * (height - 2) - 0.5,
  };
  for (const [start, length] of client.pauses) {
    if (start + length < from) continue;
    const left = Math.max(0, area.x(start));
    const wide = Math.max(1.5, area.x(start + length) - left);
    context.globalAlpha = 0.14;
    context.fillStyle = palette.amber;
    context.fillRect(left, 0, wide, height);
    context.globalAlpha = 1;
    context.fillStyle = hatching(context);
    context.fillRect(left, 0, wide, height);
  }
  context.lineWidth = 1;
  for (const [mark, colour] of [[client.high, palette.amber], [client.low, palette.dim]]) {
    const level = Math.round(area.y(mark)) + 0.5;
    context.setLineDash([3, 3]);
    context.strokeStyle = colour;
    context.beginPath();
    context.moveTo(0, level);
    context.lineTo(width, level);
    context.stroke();
  }
  context.setLineDash([]);
  fillTrace(context, client.queue, area, palette[client.flow], 0.32);
  context.fillStyle = palette.red;
  const tooth = weight > 1.5 ? 8 : 5;
  for (const time of client.drops) {
    if (time < from) continue;
    const middle = area.x(time);
    context.beginPath();
    context.moveTo(middle - tooth * 0.7, 0);
    context.lineTo(middle + tooth * 0.7, 0);
    context.lineTo(middle, tooth * 1.3);
    context.fill();
  }
  return area;
}

// A large chart that tells the value under the pointer. `describe(time)` gives its text.
class Readout {
  constructor(canvas, describe) {
    this.canvas = canvas;
    this.describe = describe;
    this.area = null;
    this.tip = make('div', { class: 'tip', hidden: true });
    canvas.parentNode.append(this.tip);
    canvas.addEventListener('pointermove', (event) => this.move(event.offsetX));
    canvas.addEventListener('pointerleave', () => { this.tip.hidden = true; });
  }

  move(x) {
    if (!this.area) return;
    const width = this.canvas.clientWidth;
    const time = this.area.from + (x / width) * (this.area.to - this.area.from);
    const text = this.describe(time);
    this.tip.hidden = !text;
    if (!text) return;
    setText(this.tip, text);
    const place = this.canvas.offsetLeft + Math.min(Math.max(x, 50), width - 50);
    this.tip.style.left = place + 'px';
    this.tip.style.top = this.canvas.offsetTop + 'px';
  }
}

// The sample in force at a time, or undefined.
function sampleAt(series, time) {
  const index = series.times.findLastIndex((sample) => sample <= time);
  return series.values[index];
}
