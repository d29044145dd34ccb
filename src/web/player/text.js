// What the page says: English, Chinese in simplified and in traditional characters. `{0}` stands for the first argument,
// `{0:a|b}` for a if that is 1 and else for b.
const TEXT = {
  channels: ['Channels', '频道', '頻道'],
  guide: ['Guide', '节目单', '節目表'],
  views: ['Lists', '列表', '清單'],
  search: ['Search', '搜索', '搜尋'],
  searchHint: ['Name or number', '名称或编号', '名稱或編號'],
  group: ['Group', '分组', '分組'],
  allGroups: ['All groups', '全部分组', '全部分組'],
  many: ['{0} of {1} {1:channel|channels}', '{0} / {1} 个频道', '{0} / {1} 個頻道'],
  all: ['{0} {0:channel|channels}', '{0} 个频道', '{0} 個頻道'],
  nothingFound: ['No channel is called that.', '没有匹配的频道。', '沒有符合的頻道。'],
  previousChannel: ['Previous channel', '上一频道', '上一頻道'],
  nextChannel: ['Next channel', '下一频道', '下一頻道'],
  language: ['Language', '语言', '語言'],
  controls: ['Controls', '控制栏', '控制列'],
  play: ['Play (space)', '播放（空格）', '播放（空白鍵）'],
  pause: ['Pause (space)', '暂停（空格）', '暫停（空白鍵）'],
  mute: ['Mute (M)', '静音（M）', '靜音（M）'],
  unmute: ['Sound on (M)', '取消静音（M）', '取消靜音（M）'],
  volume: ['Volume', '音量', '音量'],
  fullScreen: ['Full screen (F)', '全屏（F）', '全螢幕（F）'],
  leaveFullScreen: ['Leave full screen (F)', '退出全屏（F）', '離開全螢幕（F）'],
  pip: ['Picture in picture', '画中画', '子母畫面'],
  close: ['Close', '关闭', '關閉'],
  side: ['Channel list (S)', '频道列表（S）', '頻道列表（S）'],
  sources: ['Source', '播放源', '播放來源'],
  source: ['Source {0}', '源 {0}', '來源 {0}'],
  fallback: ['The source failed. Now playing: {0}', '播放源不可用，已切换到：{0}', '播放來源無法使用，已切換至：{0}'],
  live: ['Live', '直播', '直播'],
  goLive: ['Go live', '回到直播', '回到直播'],
  back: ['{0} behind', '落后 {0}', '落後 {0}'],
  timeline: ['Time', '时间', '時間'],
  back5: ['Back 5 seconds (left arrow)', '后退 5 秒（←）', '倒退 5 秒（←）'],
  forward5: ['Forward 5 seconds (right arrow)', '前进 5 秒（→）', '快轉 5 秒（→）'],
  soundHint: ['Turn the sound on', '点击打开声音', '點擊開啟聲音'],
  noSound: ['No sound: this browser cannot play {0} audio.', '无声音：此浏览器无法播放 {0} 音频。', '無聲音：此瀏覽器無法播放 {0} 音訊。'],
  today: ['Today', '今天', '今天'],
  yesterday: ['Yesterday', '昨天', '昨天'],
  tomorrow: ['Tomorrow', '明天', '明天'],
  days: ['Days', '日期', '日期'],
  onAir: ['On now', '正在播出', '正在播出'],
  playing: ['Playing', '正在播放', '正在播放'],
  replay: ['Watch again', '回看', '回看'],
  fromStart: ['From the beginning', '从头播放', '從頭播放'],
  recording: ['Recording', '回看', '回看'],
  noGuide: ['The guide says nothing of this channel.', '该频道没有节目单。', '此頻道沒有節目表。'],
  noGuideDay: ['The guide says nothing of this day.', '当天没有节目单。', '當天沒有節目表。'],
  retry: ['Try again', '重试', '重試'],
  retrying: ['Trying again …', '正在重试…', '正在重試…'],
  loadFailed: ['The channel list cannot be loaded', '无法加载频道列表', '無法載入頻道列表'],
  loadUnreached: ['The server does not answer.', '服务器没有响应。', '伺服器沒有回應。'],
  loadDenied: ['The server wants an access token: open this page with the address you were given.', '服务器需要访问令牌，请使用完整地址打开本页面。', '伺服器需要存取權杖，請使用完整網址開啟本頁面。'],
  loadEmpty: ['The server has no channels yet. They are listed under [services] in its configuration, or in the list that external-m3u names.',
    '服务器还没有频道，请在配置的 [services] 或 external-m3u 中添加。', '伺服器還沒有頻道，請在設定的 [services] 或 external-m3u 中加入。'],
  loadStatus: ['The server answers {0}.', '服务器返回 {0}。', '伺服器回應 {0}。'],

  problem: ['This channel cannot be played', '无法播放该频道', '無法播放此頻道'],
  problem_network: ['The connection to the server is lost.', '与服务器的连接已断开。', '與伺服器的連線已中斷。'],
  problem_denied: ['The server does not allow it.', '服务器拒绝访问。', '伺服器拒絕存取。'],
  problem_gone: ['The server does not have it.', '服务器上没有此内容。', '伺服器上沒有此內容。'],
  problem_busy: ['The server or its source cannot serve it now.', '服务器或源暂时无法提供。', '伺服器或來源暫時無法提供。'],
  problem_upstream: ['The source does not answer.', '源没有响应。', '來源沒有回應。'],
  problem_failed: ['The server failed.', '服务器出错。', '伺服器發生錯誤。'],
  problem_silent: ['Nothing arrives from the source.', '源没有数据。', '來源沒有資料。'],
  problem_nopicture: ['Data arrive, but no picture can be made of them.', '收到数据但无法解码画面。', '收到資料但無法解碼畫面。'],
  problem_stalled: ['The picture stands still: nothing more arrives.', '画面停滞：没有新的数据。', '畫面停滯：沒有新的資料。'],
  problem_ended: ['The source has ended the stream.', '源已结束播放。', '來源已結束播放。'],
  problem_empty: ['There is nothing recorded at this time.', '该时间没有录像。', '該時間沒有錄影。'],
  problem_picture: ['The picture is {0}, which this browser cannot play.', '画面编码为 {0}，此浏览器无法播放。', '畫面編碼為 {0}，此瀏覽器無法播放。'],
  problem_format: ['What the source sends is in a form that this browser cannot play.', '源的格式此浏览器无法播放。', '來源的格式此瀏覽器無法播放。'],
  problem_hls: ['The channel is an HLS stream, which this browser does not play by itself. Safari and up-to-date Chrome or Edge do.',
    '该频道为 HLS 流，此浏览器不能直接播放，请使用 Safari 或新版 Chrome、Edge。', '此頻道為 HLS 串流，此瀏覽器無法直接播放，請使用 Safari 或新版 Chrome、Edge。'],
  problem_broken: ['The stream is damaged.', '码流损坏。', '串流損壞。'],
  problem_foreign: ['The source is on another server, which this page may not ask.', '该源在其他服务器上，本页面无法访问。', '此來源在其他伺服器上，本頁面無法存取。'],
};

const LANGUAGES = ['en', 'zh-Hans', 'zh-Hant'];
const LANGUAGE_NAMES = ['English', '简体中文', '繁體中文'];

const LANGUAGE_TAGS = LANGUAGES;

function likelyLanguage(wanted) {
  if (!wanted.startsWith('zh')) return 'en';
  return /hant|tw|hk|mo/.test(wanted) ? 'zh-Hant' : 'zh-Hans';
}

// The accessible name of a control, shown to the mouse as well.
function label(node, text) {
  setLabel(node, text);
  if (node.matches('button') && node.title !== text) node.title = text;
}

const clock = (time) => `${twoDigits(new Date(time).getHours())}:${twoDigits(new Date(time).getMinutes())}`;
const clockSeconds = (time) => `${clock(time)}:${twoDigits(new Date(time).getSeconds())}`;

// 0:42, 12:05, 3:07:09
function span(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  const hours = Math.floor(seconds / 3600);
  const tail = `${hours ? twoDigits(Math.floor(seconds / 60) % 60) : Math.floor(seconds / 60)}:${twoDigits(seconds % 60)}`;
  return hours ? `${hours}:${tail}` : tail;
}

function dayName(time, now) {
  const days = Math.round((startOfDay(time) - startOfDay(now)) / (24 * HOUR));
  const near = { '-1': 'yesterday', 0: 'today', 1: 'tomorrow' }[days];
  if (near) return t(near);
  return new Date(time).toLocaleDateString(language, { weekday: 'short', day: 'numeric', month: 'numeric' });
}

const startOfDay = (time) => new Date(time).setHours(0, 0, 0, 0);
