// Numbers as people read them. Everything is decimal: a megabyte is a million bytes, as on the labels of links.
function scaled(value, units) {
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return [value.toFixed(digits), units[unit]];
}

const BYTE_UNITS = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
const RATE_UNITS = ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s', 'Tbit/s'];

const number = (value) => (Number.isFinite(value) ? value : 0);
const bytes = (value) => scaled(number(value), BYTE_UNITS).join('\u00a0');
// Takes bytes per second, shows bits, which is how streams and links are sold.
const rateParts = (value) => scaled(number(value) * 8, RATE_UNITS);
const rate = (value) => rateParts(value).join('\u00a0');
const count = (value) => number(value).toLocaleString(language);
const percent = (value) => Math.round(number(value) * 100) + '\u00a0%';
const two = (value) => String(value).padStart(2, '0');

// 0:42, 12:05, 3:07:09, 2 d 04:11. The words come from text.js.
function duration(milliseconds) {
  const seconds = Math.max(0, Math.floor(number(milliseconds) / 1000));
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60) % 60;
  if (hours >= 24) return `${Math.floor(hours / 24)}${t('days')} ${two(hours % 24)}:${two(minutes)}`;
  const tail = two(seconds % 60);
  return hours > 0 ? `${hours}:${two(minutes)}:${tail}` : `${minutes}:${tail}`;
}

// A span that may be short: 0.4 s, 12 s, 3 min.
function span(milliseconds) {
  const seconds = number(milliseconds) / 1000;
  if (seconds < 10) return seconds.toFixed(1) + '\u00a0s';
  if (seconds < 120) return Math.round(seconds) + '\u00a0s';
  if (seconds < 7200) return Math.round(seconds / 60) + '\u00a0min';
  return (seconds / 3600).toFixed(1) + '\u00a0h';
}

function clock(milliseconds) {
  const time = new Date(milliseconds);
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
}
