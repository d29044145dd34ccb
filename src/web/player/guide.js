// Which programme is on which channel and when (playlist spec 14.3).

const HOUR = 3_600_000;
// How far back the guide goes, and how far recordings are offered where the guide says nothing.
const GUIDE_BACK = 8 * 24 * HOUR;
const GUIDE_AHEAD = 8 * 24 * HOUR;
const RECORDED = 72 * HOUR;
const BLOCK = 2 * HOUR;

class Guide {
  constructor(names = new Map(), programmes = new Map()) {
    this.programmes = programmes;
    // Lower-case names and ids lead to ids; an id goes before a name, and the first of several names counts.
    this.ids = new Map();
    for (const id of [...names.keys(), ...programmes.keys()]) this.ids.set(id.toLowerCase(), id);
    for (const [id, all] of names) {
      for (const name of all) if (!this.ids.has(name.toLowerCase())) this.ids.set(name.toLowerCase(), id);
    }
  }

  // What the guide itself says of a channel.
  told(channel) {
    for (const name of channel.guideIds) {
      const list = this.programmes.get(this.ids.get(name.toLowerCase()));
      if (list?.length) return list;
    }
    return [];
  }

  // The same, with the gaps of the last days filled with blocks where there are recordings of them.
  of(channel, now) {
    const told = this.told(channel);
    return hasRecordings(channel) ? fillGaps(told, now - RECORDED, now) : told;
  }

  // The programme that is on at a time, or null.
  at(channel, time, now = time) {
    const told = this.told(channel);
    const found = programmeAt(told, time);
    return found ?? (hasRecordings(channel) && time >= now - RECORDED ? programmeAt(fillGaps(told, now - RECORDED, now), time) : null);
  }
}

function programmeAt(list, time) {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle].start <= time) low = middle + 1;
    else high = middle;
  }
  const found = list[low - 1];
  return found && time < found.stop ? found : null;
}

// Blocks begin at even hours of the clock on the wall, so that they stay where they are as time goes by.
function fillGaps(told, from, until) {
  const end = floorToBlock(until) + BLOCK;
  const all = [];
  let at = floorToBlock(from);
  const fillTo = (to) => {
    while (at < to) {
      const stop = Math.min(floorToBlock(at) + BLOCK, to);
      all.push({ start: at, stop, title: '' });
      at = stop;
    }
  };
  for (const each of told) {
    if (each.start > at) fillTo(Math.min(each.start, end));
    all.push(each);
    at = Math.max(at, each.stop);
  }
  fillTo(end);
  return all;
}

function floorToBlock(time) {
  const date = new Date(time);
  date.setHours(date.getHours() - (date.getHours() % 2), 0, 0, 0);
  return date.getTime();
}
