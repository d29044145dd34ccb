// Looks into an MPEG transport stream before the library does (ISO/IEC 13818-1): which pictures and sounds it has, which
// of them this browser can play, and cuts it into whole packets. Sound that cannot be played is hidden in the table of
// contents, so that the picture is played without it instead of not at all.

const PACKET = 188;
const SYNC = 0x47;
// Until the table of contents and the kind of sound are known, packets are held back; so many bytes at most.
const HELD_MAX = 1 << 20;
// A stream type that nobody uses for anything (table 2-34: user private).
const HIDDEN_TYPE = 0xfe;
const PRIVATE_TYPE = 0x06;

// Stream types of pictures: name for people, and what to ask the browser; without that nobody can play it.
const PICTURES = {
  0x01: { name: 'MPEG-1' },
  0x02: { name: 'MPEG-2' },
  0x10: { name: 'MPEG-4 Visual' },
  0x1b: { name: 'H.264', mime: 'video/mp4; codecs="avc1.640028"' },
  0x24: { name: 'H.265', mime: 'video/mp4; codecs="hvc1.1.6.L120.90"' },
  0x33: { name: 'H.266' },
  0x42: { name: 'AVS' },
  0xd2: { name: 'AVS2' },
  0xd4: { name: 'AVS3' },
};
const AAC = { name: 'AAC', mime: 'audio/mp4; codecs="mp4a.40.2"' };
const SOUNDS = {
  0x03: { name: 'MPEG', isMpeg: true },
  0x04: { name: 'MPEG', isMpeg: true },
  0x0f: AAC,
  0x11: AAC,
  0x81: { name: 'AC-3', mime: 'audio/mp4; codecs="ac-3"' },
  0x82: { name: 'DTS' },
  0x87: { name: 'E-AC-3', mime: 'audio/mp4; codecs="ec-3"' },
};
const MP3 = { name: 'MP3', mime: 'audio/mpeg' };
// No browser says that it plays this, but the decoders for MP3 that they have do, as a rule.
const MP2 = { name: 'MP2', mime: 'audio/mpeg' };
// European streams name AC-3 in a descriptor (ETSI EN 300 468, 6.2.1); the library knows it by these types.
const DESCRIBED_SOUNDS = { 0x6a: 0x81, 0x7a: 0x87 };

class TransportReader {
  // `plays(mime, name)` tells what the browser can.
  constructor(plays) {
    this.plays = plays;
    this.rest = new Uint8Array();
    this.held = [];
    this.heldBytes = 0;
    this.tablePid = -1;
    this.picture = null;
    this.sounds = [];
    this.isKnown = false;
    this.isStrange = false;
  }

  // Takes what has arrived; gives whole packets to play, which may be none yet.
  take(bytes) {
    const all = joined([this.rest, bytes]);
    const start = this.isKnown || this.heldBytes ? 0 : findSync(all);
    if (start < 0) {
      this.rest = all;
      this.isStrange = all.length > 20 * PACKET;
      return new Uint8Array();
    }
    const end = start + Math.floor((all.length - start) / PACKET) * PACKET;
    this.rest = all.slice(end);
    const packets = all.subarray(start, end);
    for (let at = 0; at < packets.length; at += PACKET) this.look(packets.subarray(at, at + PACKET));
    if (this.isKnown) return packets;
    this.held.push(packets);
    this.heldBytes += packets.length;
    if (!this.isReady() && this.heldBytes < HELD_MAX) return new Uint8Array();
    return this.release();
  }

  isReady() {
    return this.picture !== null && this.sounds.every((sound) => !sound.isMpeg);
  }

  // The contents are known, or will not be: what was held goes on, with what cannot be played hidden in it.
  release() {
    this.isKnown = true;
    const packets = joined(this.held);
    this.held = [];
    for (let at = 0; at < packets.length; at += PACKET) this.look(packets.subarray(at, at + PACKET));
    return packets;
  }

  // The sound that is played, or null; and one that is not, so that this can be told.
  get sound() { return this.sounds.find((sound) => this.canPlay(sound)) ?? null; }
  get silentSound() { return this.sound ? null : this.sounds[0] ?? null; }

  canPlay(codec) {
    return Boolean(codec.mime) && this.plays(codec.mime, codec.name);
  }

  look(packet) {
    if (packet[0] !== SYNC) return;
    const pid = ((packet[1] & 0x1f) << 8) | packet[2];
    const payload = payloadOf(packet);
    if (!payload || !(packet[1] & 0x40)) return;
    if (pid === 0) this.readAssociations(section(payload));
    else if (pid === this.tablePid) this.readContents(section(payload));
    else if (!this.isKnown) this.readSound(pid, payload);
  }

  // 2.4.4.3: the first programme counts, as for the library.
  readAssociations(table) {
    for (let at = 8; at + 4 <= table.length; at += 4) {
      const number = (table[at] << 8) | table[at + 1];
      if (number === 0) continue;
      this.tablePid = ((table[at + 2] & 0x1f) << 8) | table[at + 3];
      return;
    }
  }

  // 2.4.4.8: of a table that goes on in further packets only what is in the first one is seen.
  readContents(table) {
    if (table[0] !== 2 || table.length < 12) return;
    let at = 12 + (((table[10] & 0x0f) << 8) | table[11]);
    while (at + 5 <= table.length) {
      const pid = ((table[at + 1] & 0x1f) << 8) | table[at + 2];
      const length = ((table[at + 3] & 0x0f) << 8) | table[at + 4];
      this.readEntry(table, at, pid, table.subarray(at + 5, at + 5 + length));
      at += 5 + length;
    }
    // A radio programme has no picture.
    this.picture ??= { name: '' };
  }

  readEntry(table, at, pid, descriptors) {
    if (table[at] === PRIVATE_TYPE) table[at] = describedSound(descriptors) ?? PRIVATE_TYPE;
    const type = table[at];
    if (PICTURES[type]) this.picture ??= { pid, ...PICTURES[type] };
    if (!SOUNDS[type]) return;
    let sound = this.sounds.find((each) => each.pid === pid);
    if (!sound) {
      sound = { pid, ...SOUNDS[type] };
      this.sounds.push(sound);
    }
    if (this.isKnown && !this.canPlay(sound)) table[at] = HIDDEN_TYPE;
  }

  // ISO/IEC 11172-3, 2.4.1.3: the layer stands in the head of each frame.
  readSound(pid, payload) {
    const sound = this.sounds.find((each) => each.pid === pid && each.isMpeg);
    if (!sound || payload.length < 9 || payload[0] !== 0 || payload[1] !== 0 || payload[2] !== 1) return;
    const frame = payload.subarray(9 + payload[8]);
    if (frame[0] !== 0xff || (frame[1] & 0xe0) !== 0xe0) return;
    const layer = (frame[1] >> 1) & 3;
    Object.assign(sound, { isMpeg: false }, layer === 1 ? MP3 : MP2);
  }
}

function joined(parts) {
  const filled = parts.filter((part) => part.length);
  if (filled.length === 1) return filled[0];
  const all = new Uint8Array(filled.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of filled) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

// Where packets begin: three sync bytes in a row; -1 if that is not clear yet.
function findSync(bytes) {
  for (let at = 0; at + 2 * PACKET < bytes.length && at < 10 * PACKET; at += 1) {
    if (bytes[at] === SYNC && bytes[at + PACKET] === SYNC && bytes[at + 2 * PACKET] === SYNC) return at;
  }
  return -1;
}

function payloadOf(packet) {
  const control = (packet[3] >> 4) & 3;
  if (!(control & 1)) return null;
  const start = control === 3 ? 5 + packet[4] : 4;
  return start < PACKET ? packet.subarray(start) : null;
}

// A section without its checksum, as far as it is in this packet.
function section(payload) {
  const start = 1 + payload[0];
  const length = ((payload[start + 1] & 0x0f) << 8) | payload[start + 2];
  return payload.subarray(start, Math.min(payload.length, start + 3 + length - 4));
}

function describedSound(descriptors) {
  for (let at = 0; at + 2 <= descriptors.length; at += 2 + descriptors[at + 1]) {
    const type = DESCRIBED_SOUNDS[descriptors[at]];
    if (type) return type;
  }
  return undefined;
}
