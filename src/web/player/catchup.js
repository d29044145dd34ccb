// Links to recordings (time spec 8 and 10): a template and times in, links out.

const SECOND = 1000;
// A recording begins at least so long ago, and one request is for at most so much of it.
const RECORDING_AGE_MIN = 30 * SECOND;
const RECORDING_SPAN_MAX = 5 * 3600 * SECOND;
// Of what is not over yet: a server whose clock is slow must not take the end for the future.
const END_MARGIN = 10 * SECOND;
const RECORDING_AHEAD = 8 * 3600 * SECOND;
// Every part but the first begins so much early, so that nothing is missing between them.
const OVERLAP = SECOND;

// Fills in the placeholders of a template. `(b)` and `(e)` patterns are in the time of the viewer, all others in UTC.
function fillTemplate(template, begin, end, now) {
  return template.replace(/(\$?)\{([^{}]*)\}/g, (whole, dollar, inner) => placeholder(inner, dollar ? LONG : SHORT, { begin, end, now }) ?? whole);
}

const TOKENS = {
  year: (date, utc) => String(utc ? date.getUTCFullYear() : date.getFullYear()).padStart(4, '0'),
  month: (date, utc) => twoDigits((utc ? date.getUTCMonth() : date.getMonth()) + 1),
  day: (date, utc) => twoDigits(utc ? date.getUTCDate() : date.getDate()),
  hour: (date, utc) => twoDigits(utc ? date.getUTCHours() : date.getHours()),
  minute: (date, utc) => twoDigits(utc ? date.getUTCMinutes() : date.getMinutes()),
  second: (date, utc) => twoDigits(utc ? date.getUTCSeconds() : date.getSeconds()),
};
const twoDigits = (value) => String(value).padStart(2, '0');

// The two families of patterns.
const LONG = { pattern: /yyyy|MM|dd|HH|mm|ss/g, tokens: { yyyy: 'year', MM: 'month', dd: 'day', HH: 'hour', mm: 'minute', ss: 'second' } };
const SHORT = { pattern: /[YmdHMS]/g, tokens: { Y: 'year', m: 'month', d: 'day', H: 'hour', M: 'minute', S: 'second' } };

function formatTime(time, pattern, family, utc) {
  const date = new Date(time);
  return pattern.replace(family.pattern, (token) => TOKENS[family.tokens[token]](date, utc));
}

const unixSeconds = (time) => String(Math.floor(time / SECOND));

// The text for what stands between the braces; undefined for what is no placeholder.
function placeholder(inner, family, { begin, end, now }) {
  const local = /^\(([be])\)(.*?)(\|UTC)?$/.exec(inner);
  if (local) {
    const time = local[1] === 'b' ? begin : end;
    if (local[2] === 'timestamp') return unixSeconds(time);
    return local[2] ? formatTime(time, local[2], family, Boolean(local[3])) : new Date(time).toISOString();
  }
  const times = { utc: begin, start: begin, utcend: end, end, lutc: now, now, timestamp: now };
  const colon = inner.indexOf(':');
  const name = colon < 0 ? inner : inner.slice(0, colon);
  if (Object.hasOwn(times, name)) {
    if (colon >= 0) return formatTime(times[name], inner.slice(colon + 1), family, true);
    return name === 'timestamp' ? unixSeconds(now) : new Date(times[name]).toISOString();
  }
  if (inner === 'duration') return String(Math.round((end - begin) / SECOND));
  if (inner === 'offset') return String(Math.round((now - begin) / SECOND));
  return Object.hasOwn(family.tokens, inner) ? formatTime(begin, inner, family, true) : undefined;
}

// The parts of which a recording from `start` is made: one request each. They go on into the future, because by the
// time they are asked for it will have passed.
function recordingParts(start, now) {
  const first = Math.min(start, now - RECORDING_AGE_MIN);
  const span = Math.min(Math.max(now - first, RECORDING_AGE_MIN), RECORDING_SPAN_MAX);
  const recorded = now - END_MARGIN;
  const edges = [first];
  const last = () => edges[edges.length - 1];
  while (last() + span < recorded) edges.push(last() + span);
  edges.push(recorded);
  while (last() < now + RECORDING_AHEAD) edges.push(last() + span / 2);
  return edges.slice(1).map((end, index) => ({ begin: edges[index], end }));
}

// The link to a part; `skip` milliseconds of what it leads to have been played already.
function partLink(template, part, isFirst, now) {
  const skip = isFirst ? 0 : OVERLAP;
  return { url: fillTemplate(template, part.begin - skip, part.end, now), begin: part.begin - skip, skip };
}
