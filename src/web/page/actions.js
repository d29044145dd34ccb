// What the page can make the server do. Whatever ends or removes something asks first; all of it tells its outcome.
const CALL_WAIT_MS = 10_000;
const root = location.pathname.replace(/\/+$/, '');
// Where cookies are kept from this page, the token it was opened with still opens the rest.
const token = new URLSearchParams(location.search).get('r2h-token');
// From the origin on: a page opened with a password in its URL may not fetch relative to that.
const withToken = (path) => location.origin + root + path + (token ? `?r2h-token=${encodeURIComponent(token)}` : '');

async function call(method, name, form) {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), CALL_WAIT_MS);
  let response;
  try {
    response = await fetch(withToken(`/api/${name}`), {
      method, body: form && new URLSearchParams(form), credentials: 'same-origin', cache: 'no-store', signal: abort.signal,
    });
  } catch {
    throw new Error(t('noAnswer'));
  } finally {
    clearTimeout(timer);
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok || answer.success === false) throw new Error(answer.error ?? `${response.status} ${response.statusText}`);
}

async function perform(what, done, ...request) {
  try {
    await call(...request);
    toast(done);
  } catch (error) {
    toast(t('failed', what, error.message), true);
  }
}

const actions = {
  async disconnect(client) {
    const { clientAddr, serviceUrl } = client.data;
    const sure = await confirmed({ title: t('askDisconnect'), text: t('askDisconnectText'), object: `${clientAddr}  ${serviceUrl}`, yes: t('disconnect') });
    if (sure) await perform(t('disconnect'), t('doneDisconnect', clientAddr), 'POST', 'disconnect', { client_id: client.id });
  },

  async reload() {
    const sure = await confirmed({ title: t('askReload'), text: t('askReloadText'), yes: t('reload'), mild: true });
    if (sure) await perform(t('reload'), t('doneReload'), 'POST', 'reload-config');
  },

  async restart() {
    const sure = await confirmed({ title: t('askRestart'), text: t('askRestartText', count(model.clients.size)), yes: t('restart') });
    if (sure) await perform(t('restart'), t('doneRestart'), 'POST', 'restart-workers');
  },

  async clearLog() {
    const sure = await confirmed({ title: t('askClear'), text: t('askClearText'), yes: t('clear') });
    if (sure) await perform(t('clear'), t('doneClear'), 'POST', 'clear-logs');
  },

  async level(level) {
    await perform(t('record'), t('doneLevel', RECORD_LEVELS[level]), 'PUT', 'log-level', { level: String(level) });
    $('log-level').blur();
    logView.showLevel();
  },
};

// Asks; resolves to whether the answer was yes. Escape and a click beside the dialog mean no.
function confirmed({ title, text, object = '', yes, mild = false }) {
  const dialog = $('confirm');
  setText($('confirm-title'), title);
  setText($('confirm-text'), text);
  setText($('confirm-object'), object);
  $('confirm-object').hidden = !object;
  setText($('confirm-yes'), yes);
  $('confirm-yes').className = mild ? 'button primary' : 'button danger';
  dialog.showModal();
  $('confirm-no').focus();
  return new Promise((resolve) => {
    const settle = (answer) => {
      dialog.removeEventListener('close', refuse);
      if (dialog.open) dialog.close();
      resolve(answer);
    };
    const refuse = () => settle(false);
    dialog.addEventListener('close', refuse);
    dialog.onclick = (event) => { if (event.target === dialog) refuse(); };
    $('confirm-no').onclick = refuse;
    $('confirm-yes').onclick = () => settle(true);
  });
}

// Errors stay longer, and are read out at once.
function toast(text, bad = false) {
  const node = make('div', { class: bad ? 'toast bad' : 'toast', role: bad ? 'alert' : 'status' }, make('span', {}, text));
  node.append(make('button', { type: 'button', class: 'tool icon', 'aria-label': t('close'), on: { click: () => node.remove() } }, icon('disconnect')));
  $('toasts').append(node);
  while ($('toasts').childElementCount > 4) $('toasts').firstChild.remove();
  setTimeout(() => node.remove(), bad ? 15_000 : 5_000);
}
