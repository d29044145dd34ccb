// What the page says, in English and Chinese. `{0}` stands for the first argument.
const TEXT = {
  uptime: ['Up', '已运行'],
  server: ['Server', '服务器'],
  reload: ['Reload configuration', '重新加载配置'],
  reloadHint: ['Reads the configuration again. Streams go on.', '重新读取配置，不中断播放。'],
  restart: ['Restart workers', '重启工作进程'],
  restartHint: ['One after another. Clients may have to reconnect.', '逐个重启，客户端可能需要重新连接。'],
  bandwidth: ['Bandwidth', '带宽'],
  peak: ['{1} min peak {0}', '{1} 分钟峰值 {0}'],
  clients: ['Clients', '客户端'],
  ofMax: ['of {0}', '/ {0}'],
  sentTotal: ['Sent since start', '累计发送'],
  flow: ['Flow', '流控'],
  channels: ['Channels', '频道'],
  upstreams: ['Upstreams', '上游'],
  workers: ['Workers', '工作进程'],
  log: ['Log', '日志'],
  summary: ['Summary', '概览'],
  views: ['Views', '视图'],
  filter: ['Filter', '筛选'],
  search: ['Search', '搜索'],
  searchClients: ['Address, URL or state', '地址、URL 或状态'],
  searchLog: ['Search the log', '搜索日志'],
  sortBy: ['Sort by', '排序'],
  theme: ['Theme: {0}', '主题：{0}'],
  auto: ['as the system', '跟随系统'],
  light: ['light', '浅色'],
  dark: ['dark', '深色'],
  cancel: ['Cancel', '取消'],
  close: ['Close', '关闭'],

  connecting: ['Connecting …', '正在连接…'],
  live: ['Live', '实时'],
  lost: ['Connection lost', '连接已断开'],
  lostSince: ['The connection to the server is lost. What you see is from {0}. Next try in {1} s.',
    '与服务器的连接已断开，以下为 {0} 的数据，{1} 秒后重试。'],
  lostNow: ['The connection to the server is lost. What you see is from {0}. Trying again …',
    '与服务器的连接已断开，以下为 {0} 的数据，正在重试…'],
  unreached: ['The server cannot be reached. Next try in {0} s.', '无法连接服务器，{0} 秒后重试。'],
  unreachedNow: ['The server cannot be reached. Trying again …', '无法连接服务器，正在重试…'],
  denied: ['The server refuses access ({0}). Open this page with its access token or password.',
    '服务器拒绝访问（{0}），请使用访问令牌或密码打开本页。'],
  back: ['Connected again', '已重新连接'],
  retry: ['Retry now', '立即重试'],

  all: ['All', '全部'],
  flowing: ['Flowing', '流畅'],
  throttled: ['Throttled', '限流'],
  congested: ['Congested', '拥塞'],
  starting: ['Starting', '启动中'],
  left: ['Left', '已离开'],
  slow: ['slow', '慢'],
  flowingHint: ['The client takes what arrives.', '客户端接收及时。'],
  throttledHint: ['The client reads more slowly than the source sends, so the source is held back. Nothing is lost.',
    '客户端读取慢于上游发送，上游已被暂停，不丢失数据。'],
  congestedHint: ['The client is too slow for a live source, which cannot wait. It misses packets.',
    '客户端跟不上直播源，直播源无法等待，正在丢包。'],
  startingHint: ['The source is being reached. Nothing has been sent yet.', '正在连接上游，尚未发送数据。'],
  leftHint: ['This client has left.', '该客户端已离开。'],

  state: ['State', '状态'],
  client: ['Client', '客户端'],
  stream: ['Stream', '节目'],
  queue: ['Queue', '队列'],
  sent: ['Sent', '已发送'],
  time: ['Time', '时长'],
  action: ['Action', '操作'],
  group: ['Group', '组播组'],
  subscribers: ['Clients', '客户端'],
  bitrate: ['Bit rate', '码率'],
  received: ['Received', '已接收'],
  missing: ['Lost', '丢失'],
  reordered: ['Reordered', '乱序'],
  recovered: ['Recovered', '已恢复'],
  late: ['Late', '迟到'],
  age: ['Joined', '已加入'],
  lingering: ['lingering', '保持中'],
  joining: ['joining', '加入中'],
  running: ['running', '运行中'],
  address: ['Address', '地址'],
  transport: ['Transport', '传输'],
  inFlight: ['In flight', '待发送'],
  held: ['held back', '已暂停'],

  disconnect: ['Disconnect', '断开'],
  details: ['Details of {0}', '{0} 的详情'],
  queueOf: ['{0} of {1}', '{0} / {1}'],
  skipped: ['{0} skipped', '丢弃 {0}'],
  pausedFor: ['paused {0}', '暂停 {0}'],
  queueAlt: ['Queue {0} percent full, {1}', '队列已用 {0}%，{1}'],
  bandwidthAlt: ['Bandwidth now {0}', '当前带宽 {0}'],
  lastMinute: ['Last {0} s', '最近 {0} 秒'],
  lastMinutes: ['Last {0} min', '最近 {0} 分钟'],
  pauseMark: ['{0}: the source pauses', '{0}：暂停上游'],
  resumeMark: ['{0}: it goes on', '{0}：恢复'],
  skipMark: ['Full: packets are skipped', '已满：开始丢包'],
  wholeMark: ['{0}: whole again', '{0}：恢复完整'],
  pauseLegend: ['source paused', '上游暂停'],
  dropLegend: ['packets skipped', '丢包'],
  peakLegend: ['highest so far', '历史峰值'],

  protocolState: ['Protocol', '协议状态'],
  clientId: ['Client id', '客户端 ID'],
  worker: ['Worker', '工作进程'],
  queueNow: ['Queue', '队列'],
  queuePeak: ['Queue at most', '队列峰值'],
  dropped: ['Skipped', '已丢弃'],
  packets: ['{0} packets, {1}', '{0} 个包，{1}'],
  pauses: ['Pauses', '暂停次数'],
  pausesText: ['{0}, {1} in all', '{0} 次，共 {1}'],
  since: ['Connected for', '连接时长'],
  none: ['none', '无'],
  days: ['\u00a0d', '\u00a0天'],

  pid: ['Process', '进程'],
  down: ['not running', '未运行'],
  pool: ['Packet memory', '媒体缓冲池'],
  controlPool: ['Control memory', '控制缓冲池'],
  poolText: ['{0} of {1} buffers, at most {2}', '已用 {0} / {1}，上限 {2}'],
  sends: ['Writes', '发送次数'],
  blocked: ['Blocked', '阻塞 (EAGAIN)'],
  noBuffers: ['No buffers', '无缓冲 (ENOBUFS)'],
  batches: ['Batches', '批量'],
  completions: ['Zero-copy', '零拷贝完成'],
  copied: ['Copied', '内核复制'],
  expansions: ['Growths', '扩容'],
  exhaustions: ['Exhausted', '耗尽'],
  connections: ['Connections', '连接数'],
  restarts: ['Restarts', '重启次数'],

  show: ['Show', '显示'],
  record: ['Record', '记录级别'],
  andWorse: ['{0} and worse', '{0} 及以上'],
  follow: ['Follow', '跟随'],
  save: ['Save', '保存'],
  clear: ['Clear', '清空'],
  newLines: ['{0} new lines', '{0} 条新日志'],
  linesLost: ['{0} lines came and went before this page could read them.', '有 {0} 条日志在读取前已被覆盖。'],

  loading: ['Waiting for the first figures …', '正在等待数据…'],
  noClients: ['Nobody is watching', '当前没有客户端'],
  noClientsHint: ['Clients appear here as soon as they play a stream.', '客户端开始播放后会显示在这里。'],
  omitted: ['{0} more clients are counted but not listed.', '另有 {0} 个客户端已计入但未列出。'],
  noMatch: ['Nothing matches', '没有匹配项'],
  noMatchHint: ['Change the search or the filter.', '请更改搜索词或筛选条件。'],
  noChannels: ['No channel is joined', '未加入任何频道'],
  noChannelsHint: ['A multicast group is joined once, however many clients watch it.', '每个组播组只加入一次，由所有客户端共享。'],
  noUpstreams: ['No upstream is connected', '没有上游连接'],
  noUpstreamsHint: ['HTTP and RTSP sources appear here while clients use them.', 'HTTP 与 RTSP 源在使用时显示在这里。'],
  noWorkers: ['No worker has reported yet', '工作进程尚未上报'],
  noLog: ['The log is empty', '日志为空'],
  noLogHint: ['Errors are recorded by default. “Record” above shows more.', '默认只记录错误，可在上方提高记录级别。'],

  askDisconnect: ['Disconnect this client?', '断开此客户端？'],
  askDisconnectText: ['Its stream ends at once. Most players reconnect by themselves.', '其播放将立即中断，多数播放器会自动重连。'],
  askRestart: ['Restart the workers?', '重启工作进程？'],
  askRestartText: ['{0} clients are connected. Those that do not finish in time have to reconnect.',
    '当前有 {0} 个客户端，未能及时结束的需要重新连接。'],
  askReload: ['Reload the configuration?', '重新加载配置？'],
  askReloadText: ['Nothing changes if the configuration has an error. Streams go on.', '若配置有误则不做更改，播放不受影响。'],
  askClear: ['Clear the log?', '清空日志？'],
  askClearText: ['The lines kept for this page are removed for everybody. Log files stay.', '所有人都将看不到这些日志，日志文件不受影响。'],
  doneDisconnect: ['{0} is being disconnected', '正在断开 {0}'],
  doneReload: ['The configuration is being read again', '正在重新加载配置'],
  doneRestart: ['The workers are being restarted', '正在重启工作进程'],
  doneClear: ['The log is cleared', '日志已清空'],
  doneLevel: ['The log records {0} and worse', '日志记录级别已改为 {0}'],
  failed: ['{0}: {1}', '{0}：{1}'],
  noAnswer: ['no answer from the server', '服务器无响应'],
};

// Names of the client states, in the order of their numbers.
const STATES = [
  ['Connecting', '连接中'], ['FCC: starting', 'FCC 初始化'], ['FCC: requested', 'FCC 已请求'],
  ['FCC: unicast expected', 'FCC 等待单播'], ['FCC: unicast', 'FCC 单播中'], ['FCC: joining the group', 'FCC 切换组播'],
  ['Multicast', '组播中'], ['RTSP: starting', 'RTSP 初始化'], ['RTSP: connecting', 'RTSP 连接中'],
  ['RTSP: connected', 'RTSP 已连接'], ['RTSP: OPTIONS', 'RTSP 发送 OPTIONS'], ['RTSP: OPTIONS sent', 'RTSP 等待 OPTIONS'],
  ['RTSP: DESCRIBE', 'RTSP 发送 DESCRIBE'], ['RTSP: DESCRIBE sent', 'RTSP 等待 DESCRIBE'], ['RTSP: described', 'RTSP 已描述'],
  ['RTSP: SETUP', 'RTSP 发送 SETUP'], ['RTSP: SETUP sent', 'RTSP 等待 SETUP'], ['RTSP: set up', 'RTSP 已建立'],
  ['RTSP: PLAY', 'RTSP 发送 PLAY'], ['RTSP: PLAY sent', 'RTSP 等待 PLAY'], ['RTSP: playing', 'RTSP 播放中'],
  ['RTSP: reconnecting', 'RTSP 重连中'], ['RTSP: TEARDOWN', 'RTSP 发送 TEARDOWN'], ['RTSP: TEARDOWN sent', 'RTSP 等待 TEARDOWN'],
  ['RTSP: ended', 'RTSP 已结束'], ['RTSP: paused', 'RTSP 已暂停'], ['HTTP: connecting', 'HTTP 连接中'],
  ['HTTP: sending the request', 'HTTP 发送请求'], ['HTTP: waiting for the answer', 'HTTP 等待响应'], ['HTTP: streaming', 'HTTP 传输中'],
  ['Error', '错误'], ['Disconnected', '已断开'],
];

const LANGUAGES = ['en', 'zh'];
let language = chooseLanguage();

function chooseLanguage() {
  const choice = remembered('language');
  if (LANGUAGES.includes(choice)) return choice;
  return navigator.language.toLowerCase().startsWith('zh') ? 'zh' : 'en';
}

function t(key, ...values) {
  const text = TEXT[key][LANGUAGES.indexOf(language)];
  return text.replace(/\{(\d)\}/g, (_, index) => values[index]);
}

function stateName(number) {
  const names = STATES[number];
  return names ? names[LANGUAGES.indexOf(language)] : String(number);
}

// Fills in the texts that the document itself holds: content, accessible names, placeholders.
function translateDocument() {
  document.documentElement.lang = language === 'zh' ? 'zh-Hans' : 'en';
  for (const node of document.querySelectorAll('[data-t]')) node.textContent = t(node.dataset.t);
  for (const node of document.querySelectorAll('[data-a]')) node.setAttribute('aria-label', t(node.dataset.a));
  for (const node of document.querySelectorAll('[data-p]')) node.placeholder = t(node.dataset.p);
}
