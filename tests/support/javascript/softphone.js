// A softphone of JsSIP, driven by a test: it says a tone, listens, writes and reads texts.
import { UA, WebSocketInterface } from "jssip";

const SIZE = 4096, LISTEN = 1500, LONGEST = 10000;

const context = new AudioContext();
const texts = [], refused = [];
let ua, session, mouth, callArrived, dropsCandidates = false;

const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

const until = async (what, condition) => {
  for (const end = Date.now() + LONGEST; !condition(); await wait(20)) {
    if (Date.now() > end) throw new Error(`${what} did not come; ${refused.join(", ")}`);
  }
};

function say(frequency) {
  const tone = new OscillatorNode(context, { frequency });
  mouth = context.createMediaStreamDestination();
  tone.connect(mouth);
  tone.start();
}

// Leaves of the candidates offered by the other side those that the node added: its anchors.
function withAnchorsOnly(sdp) {
  return sdp.split("\r\n").filter(
    (line) => !line.startsWith("a=candidate:") || line.includes("raddr 0.0.0.0 rport 9")
  ).join("\r\n");
}

function follow(its) {
  session = its;
  its.on("failed", ({ cause }) => refused.push(`call: ${cause}`));
  its.on("sdp", (event) => {
    if (event.originator === "remote" && dropsCandidates) event.sdp = withAnchorsOnly(event.sdp);
  });
}

const settings = () => ({
  mediaStream: mouth.stream,
  pcConfig: { iceServers: [], bundlePolicy: "max-bundle" },
});

window.onlyAnchors = (yes) => { dropsCandidates = yes; };

// Registers; resolves to what went wrong.
window.start = async ({ uri, password, url, frequency }) => {
  ua?.stop();
  refused.length = 0;
  say(frequency);
  ua = new UA({
    sockets: [new WebSocketInterface(url)], uri, password, register_expires: 300,
    session_timers: false,
  });
  ua.on("registrationFailed", ({ cause }) => refused.push(`REGISTER: ${cause}`));
  ua.on("newMessage", ({ originator, message, request }) => {
    if (originator === "remote") texts.push([request.from.uri.user, request.body]);
  });
  ua.on("newRTCSession", ({ originator, session: its }) => {
    follow(its);
    if (originator === "remote") callArrived = its;
  });
  ua.start();
  await until("registration", () => ua.isRegistered() || refused.length);
  return [...refused];
};

window.call = async (target) => {
  ua.call(target, settings());
  await until("answer", () => session.isEstablished() || session.isEnded());
  return session.isEstablished();
};

window.answer = async () => {
  await until("call", () => callArrived);
  callArrived.answer(settings());
  callArrived = undefined;
  await until("confirmation", () => session.isEstablished());
  return session.remote_identity.uri.toString();
};

window.hangUp = () => session.terminate();
window.isOver = () => until("end", () => session.isEnded()).then(() => true);

window.text = (target, body) => new Promise((resolve, reject) => ua.sendMessage(target, body, {
  eventHandlers: {
    succeeded: ({ response }) => resolve(response.status_code),
    failed: ({ cause }) => reject(new Error(cause)),
  },
}));
window.texts = async (count) => {
  await until("text", () => texts.length >= count);
  return texts;
};

window.disconnect = () => ua.stop();

async function path(connection) {
  const stats = await connection.getStats();
  const transport = [...stats.values()].find((entry) => entry.type === "transport");
  const pair = stats.get(transport.selectedCandidatePairId);
  const remote = stats.get(pair.remoteCandidateId);
  return { remote: remote.candidateType, port: remote.port, dtls: transport.dtlsState };
}

// The share of looks at the spectrum in which the loudest frequency is the other side's tone.
window.hear = async (frequency) => {
  const [receiver] = session.connection.getReceivers();
  const stream = new MediaStream([receiver.track]);
  // Chromium decodes a remote track only where an element plays it.
  const element = new Audio();
  element.srcObject = stream;
  element.muted = true;
  await element.play();
  const analyser = new AnalyserNode(context, { fftSize: SIZE, smoothingTimeConstant: 0 });
  context.createMediaStreamSource(stream).connect(analyser);
  await wait(700);
  const spectrum = new Float32Array(analyser.frequencyBinCount);
  const width = context.sampleRate / SIZE;
  let looks = 0, right = 0;
  for (const end = Date.now() + LISTEN; Date.now() < end; await wait(25)) {
    analyser.getFloatFrequencyData(spectrum);
    const peak = spectrum.reduce((best, level, bin) => (level > spectrum[best] ? bin : best), 0);
    looks += 1;
    right += spectrum[peak] > -50 && Math.abs(peak * width - frequency) <= 2 * width;
  }
  return { share: right / looks, ...(await path(session.connection)) };
};
