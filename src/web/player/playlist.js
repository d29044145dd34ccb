// Reads the server's playlist (playlist spec 14.2): text in, channels out. Knows nothing of the page.

// What a channel list may have; the server has a bound of its own.
const CHANNELS_MAX = 50_000;

// `home` is the origin of the page. Gives the address of the guide, or null, and the channels in order.
function parsePlaylist(text, home) {
  const defaults = {};
  const entries = [];
  let guide = null;
  let info = null;
  for (const line of text.split(/\r\n|\r|\n/).map((each) => each.trim())) {
    if (/^#EXTM3U\b/i.test(line)) {
      const { attributes } = splitInfo(line);
      guide ??= attributes.get('x-tvg-url')?.[0] ?? attributes.get('url-tvg')?.[0] ?? null;
      for (const name of ['catchup', 'catchup-source']) defaults[name] ??= attributes.get(name)?.[0];
    } else if (/^#EXTINF:/i.test(line)) {
      info = splitInfo(line.slice(line.indexOf(':') + 1));
    } else if (info && isLink(line)) {
      if (entries.length < CHANNELS_MAX) entries.push({ info, ...splitLabel(line) });
      info = null;
    } else if (line && !line.startsWith('#')) {
      info = null;
    }
  }
  const own = ownOrigin(entries.map((entry) => entry.url), home);
  return { guide: guide && localLink(guide, own).url, channels: merge(entries, defaults, own) };
}

const isLink = (line) => /^(\/|https?:\/\/)/i.test(line);

// Attributes by name in lower case, each with all its values, and the name behind the first comma outside quotes.
function splitInfo(text) {
  let quote = '';
  let comma = text.length;
  for (let at = 0; at < text.length; at += 1) {
    const c = text[at];
    if (quote) {
      if (c === quote) quote = '';
    } else if ((c === '"' || c === "'") && text[at - 1] === '=') {
      quote = c;
    } else if (c === ',') {
      comma = at;
      break;
    }
  }
  const attributes = new Map();
  for (const [, name, double, single, bare] of text.slice(0, comma).matchAll(/([\w-]+)=(?:"([^"]*)"|'([^']*)'|([^\s"',]+))/g)) {
    const key = name.toLowerCase();
    attributes.set(key, [...(attributes.get(key) ?? []), double ?? single ?? bare]);
  }
  return { attributes, name: text.slice(comma + 1).trim() };
}

// A label stands behind the last `$`. One before a brace begins a placeholder instead. The link keeps its label: the
// server knows what to do with it.
function splitLabel(url) {
  const at = url.lastIndexOf('$');
  const isLabel = at > 0 && at < url.length - 1 && url[at + 1] !== '{';
  return { url, label: isLabel ? decoded(url.slice(at + 1)) : '' };
}

function decoded(text) {
  try { return decodeURIComponent(text); } catch { return text; }
}

function originOf(url) {
  return /^https?:\/\/[^/?#]*/i.exec(url)?.[0].toLowerCase() ?? '';
}

// How the server calls itself in links: by the page's origin or, behind a proxy that hides it, by whatever most links
// begin with. Others lead to servers that this page may not ask.
function ownOrigin(urls, home) {
  const many = new Map();
  for (const url of urls) many.set(originOf(url), (many.get(originOf(url)) ?? 0) + 1);
  many.delete('');
  if (many.size === 0 || many.has(home.toLowerCase())) return home.toLowerCase();
  return [...many].sort((a, b) => b[1] - a[1])[0][0];
}

// A link without the server's own origin; placeholders in it stay as they are.
function localLink(url, own) {
  const origin = originOf(url);
  if (!origin) return { url, foreign: false };
  if (origin !== own) return { url, foreign: true };
  const rest = url.slice(origin.length);
  return { url: rest.startsWith('/') ? rest : '/' + rest, foreign: false };
}

// Entries of the same name and groups are one channel with several sources. Numbers count channels from 1.
function merge(entries, defaults, own) {
  const channels = new Map();
  for (const { info, url, label } of entries) {
    const one = (name) => info.attributes.get(name)?.[0] ?? '';
    const groups = (info.attributes.get('group-title') ?? []).flatMap((text) => text.split(';'));
    const named = [...new Set(groups.map((group) => group.trim()).filter(Boolean))];
    const name = info.name || one('tvg-name') || url;
    const key = JSON.stringify([name, named]);
    const channel = channels.get(key) ?? {
      number: channels.size + 1,
      key,
      name,
      groups: named,
      logo: '',
      guideIds: [],
      sources: [],
    };
    channels.set(key, channel);
    channel.logo ||= one('tvg-logo');
    if (!channel.guideIds.length) channel.guideIds = [one('tvg-id'), one('tvg-name'), name].filter(Boolean);
    const catchup = one('catchup') || defaults.catchup || '';
    const catchupSource = one('catchup-source') || defaults['catchup-source'] || '';
    channel.sources.push({ ...localLink(url, own), label, recordings: recordingsOf(catchup, catchupSource, url, own) });
  }
  return [...channels.values()];
}

// The template of links to recordings, or an empty text.
function recordingsOf(catchup, template, url, own) {
  if (!catchup || !template) return '';
  const whole = isLink(template) ? template : url.replace(/\$(?!\{)[^${}]*$/, '') + template;
  const link = localLink(whole, own);
  return link.foreign ? '' : link.url;
}

const hasRecordings = (channel) => channel.sources.some((source) => source.recordings);

// Channels that a person may mean: by number, or by words that all occur in the name.
function findChannels(channels, words, group) {
  const wanted = words.trim().toLowerCase();
  const within = group ? channels.filter((channel) => channel.groups.includes(group)) : channels;
  if (!wanted) return within;
  const parts = wanted.split(/\s+/);
  const fits = (channel) => parts.every((part) => channel.name.toLowerCase().includes(part));
  const byNumber = /^\d+$/.test(wanted) ? within.filter((channel) => String(channel.number).startsWith(wanted)) : [];
  return [...new Set([...byNumber, ...within.filter(fits)])];
}

// The channel that `#7` or `#News` in an address means; a number goes before a name.
function channelOfHash(channels, hash) {
  const wanted = decoded(hash.replace(/^#/, '')).trim();
  if (!wanted) return null;
  const byNumber = /^\d+$/.test(wanted) ? channels[Number(wanted) - 1] : null;
  return byNumber ?? channels.find((channel) => channel.name.toLowerCase() === wanted.toLowerCase()) ?? null;
}
