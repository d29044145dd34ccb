// Reads a programme guide in the XMLTV format while it arrives: a guide may have tens of megabytes, and a document of
// elements would hold the page up and take ten times as much. Text in, channels and programmes out.

// The longest element that is looked at, in characters; chosen: programmes have some hundred.
const ELEMENT_MAX = 1 << 20;
// Programmes kept at most: a week of two thousand channels.
const PROGRAMMES_MAX = 500_000;

class GuideReader {
  // Only programmes that are on between these times, in milliseconds, are kept.
  constructor(from, until) {
    this.from = from;
    this.until = until;
    this.names = new Map();
    this.programmes = new Map();
    this.kept = 0;
    this.rest = '';
  }

  push(text) {
    const all = this.rest + text;
    let at = 0;
    for (;;) {
      const start = nextElement(all, at);
      if (!start) break;
      const end = all.indexOf(start.close, start.at);
      if (end < 0) {
        at = all.length - start.at > ELEMENT_MAX ? all.length : start.at;
        this.rest = all.slice(at);
        return;
      }
      at = end + start.close.length;
      if (start.name === 'channel') this.takeChannel(all.slice(start.at, at));
      else if (start.name === 'programme') this.takeProgramme(all.slice(start.at, at));
    }
    // A tag may be cut anywhere; the longest that matters is `<programme`.
    this.rest = all.slice(Math.max(at, all.length - 12));
  }

  takeChannel(element) {
    const id = attributesOf(element).id;
    if (!id) return;
    const names = [...element.matchAll(/<display-name\b[^>]*>([\s\S]*?)<\/display-name>/g)].map((found) => plainText(found[1]));
    this.names.set(id, [...(this.names.get(id) ?? []), ...names.filter(Boolean)]);
  }

  takeProgramme(element) {
    const { start, stop, channel } = attributesOf(element);
    const begin = parseGuideTime(start);
    const end = parseGuideTime(stop);
    if (!channel || begin === null || begin >= this.until || (end ?? Infinity) <= this.from || this.kept >= PROGRAMMES_MAX) return;
    const title = plainText(/<title\b[^>]*>([\s\S]*?)<\/title>/.exec(element)?.[1] ?? '');
    if (!this.programmes.has(channel)) this.programmes.set(channel, []);
    this.programmes.get(channel).push({ start: begin, stop: end, title });
    this.kept += 1;
  }

  // Sorts, and ends what has no end where the next begins. Gives programmes by the id of their channel.
  finish() {
    for (const list of this.programmes.values()) {
      list.sort((a, b) => a.start - b.start);
      list.forEach((each, index) => { each.stop ??= list[index + 1]?.start ?? each.start + 3_600_000; });
    }
    return { names: this.names, programmes: this.programmes };
  }
}

// The next element that matters, comments included, which may hold what looks like one.
function nextElement(text, from) {
  const pattern = /<(channel|programme|!--)(?=[\s>/-]|$)/g;
  pattern.lastIndex = from;
  const found = pattern.exec(text);
  if (!found) return null;
  const name = found[1];
  const close = name === '!--' ? '-->' : `</${name}>`;
  return { name, close, at: found.index };
}

function attributesOf(element) {
  const tag = element.slice(0, element.indexOf('>') + 1);
  const found = {};
  for (const [, name, double, single] of tag.matchAll(/([\w-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')/g)) found[name] = plainText(double ?? single);
  return found;
}

const ENTITIES = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

function plainText(markup) {
  const cdata = markup.replace(/<!\[CDATA\[([\s\S]*?)\]\]>/g, (_, text) => text.replace(/&/g, '&amp;'));
  return cdata.replace(/&(?:#x([\da-f]+)|#(\d+)|(\w+));/gi, (whole, hex, decimal, name) => {
    if (name) return ENTITIES[name] ?? whole;
    const code = hex ? parseInt(hex, 16) : Number(decimal);
    return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
  }).trim();
}

// `YYYYMMDDhhmmss +HHMM`, of which the end may be missing, as milliseconds; null if it is none. Without a zone it is UTC.
function parseGuideTime(text) {
  const found = /^(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?\s*(?:(?:UTC|GMT)?\s*([+-])(\d\d):?(\d\d))?/.exec(text?.trim() ?? '');
  if (!found) return null;
  const [year, month = 1, day = 1, hour = 0, minute = 0, second = 0] = found.slice(1, 7).map((part) => part && Number(part));
  const offset = found[7] ? (found[7] === '-' ? -1 : 1) * (Number(found[8]) * 60 + Number(found[9])) : 0;
  return Date.UTC(year, month - 1, day, hour, minute - offset, second);
}

// Reads the guide from an answer as it arrives. The document names its encoding; most are UTF-8.
async function readGuide(response, reader) {
  const stream = response.body.getReader();
  let decoder = null;
  for (;;) {
    const { value, done } = await stream.read();
    if (done) break;
    decoder ??= guideDecoder(value);
    reader.push(decoder.decode(value, { stream: true }));
  }
  return reader.finish();
}

function guideDecoder(bytes) {
  const head = String.fromCharCode(...bytes.subarray(0, 200));
  const name = /^[^>]*?encoding=["']([\w-]+)["']/.exec(head)?.[1] ?? 'utf-8';
  try { return new TextDecoder(name); } catch { return new TextDecoder(); }
}
