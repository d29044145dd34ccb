const STORE_PREFIX = 'rtp2httpd-player-';

function rememberedList(key) {
  try {
    const list = JSON.parse(remembered(key));
    return list && typeof list === 'object' ? list : {};
  } catch {
    return {};
  }
}

// A phone shows the list under the picture; where there is room, it was open or closed the last time.
document.documentElement.dataset.side = remembered('side') === 'closed' ? 'closed' : 'open';
