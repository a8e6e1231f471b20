// Two peer connections of one page that may only use a TURN server; one says a tone, the other
// listens. `talk` resolves to what was heard and how it travelled.
"use strict";

const TONE = 440, SIZE = 4096, LISTEN = 1500, LONGEST = 12000;

const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

function connection(server) {
  return new RTCPeerConnection({ iceServers: [server], iceTransportPolicy: "relay" });
}

async function connected(one, other) {
  const end = Date.now() + LONGEST;
  while (one.connectionState !== "connected" || other.connectionState !== "connected") {
    // Connections that found no way by themselves never begin to check any.
    const stuck = [one, other].some(
      (side) => side.connectionState === "new" && side.iceGatheringState === "complete");
    if (stuck || Date.now() > end) {
      throw new Error(`connections are ${one.connectionState}, ${other.connectionState}`);
    }
    await wait(20);
  }
}

async function path(connection) {
  const stats = await connection.getStats();
  const transport = [...stats.values()].find((entry) => entry.type === "transport");
  const pair = stats.get(transport.selectedCandidatePairId);
  const local = stats.get(pair.localCandidateId), remote = stats.get(pair.remoteCandidateId);
  return { local: local.candidateType, remote: remote.candidateType, by: local.relayProtocol };
}

async function received(connection) {
  const stats = [...(await connection.getStats()).values()];
  const found = stats.find((entry) => entry.type === "inbound-rtp");
  return { packets: found.packetsReceived, lost: found.packetsLost };
}

// The share of looks at the spectrum in which the loudest frequency is the tone.
async function heard(context, analyser) {
  const spectrum = new Float32Array(analyser.frequencyBinCount);
  const width = context.sampleRate / SIZE;
  const end = Date.now() + LISTEN;
  let looks = 0, right = 0, loudest = -Infinity;
  while (Date.now() < end) {
    await wait(25);
    analyser.getFloatFrequencyData(spectrum);
    const peak = spectrum.reduce((best, level, bin) => (level > spectrum[best] ? bin : best), 0);
    looks += 1;
    loudest = Math.max(loudest, spectrum[peak]);
    right += spectrum[peak] > -50 && Math.abs(peak * width - TONE) <= 2 * width;
  }
  return { looks, share: right / looks, level: loudest };
}

async function talk(server) {
  const context = new AudioContext(), errors = [];
  const tone = new OscillatorNode(context, { frequency: TONE });
  const mouth = context.createMediaStreamDestination();
  tone.connect(mouth);
  tone.start();
  const one = connection(server), other = connection(server);
  for (const [here, there] of [[one, other], [other, one]]) {
    here.onicecandidate = ({ candidate }) => candidate && there.addIceCandidate(candidate);
    here.onicecandidateerror = (event) => errors.push(`${event.errorCode} ${event.errorText}`);
  }
  const arrived = new Promise((resolve) => {
    other.ontrack = ({ track }) => resolve(new MediaStream([track]));
  });
  one.addTrack(mouth.stream.getAudioTracks()[0], mouth.stream);
  try {
    await one.setLocalDescription();
    await other.setRemoteDescription(one.localDescription);
    await other.setLocalDescription();
    await one.setRemoteDescription(other.localDescription);
    await connected(one, other);
    const stream = await arrived;
    // Chromium decodes a remote track only where an element plays it.
    const element = new Audio();
    element.srcObject = stream;
    element.muted = true;
    await element.play();
    const analyser = new AnalyserNode(context, { fftSize: SIZE, smoothingTimeConstant: 0 });
    context.createMediaStreamSource(stream).connect(analyser);
    await wait(500);
    const sound = await heard(context, analyser);
    return { ...sound, ...(await path(other)), ...(await received(other)), errors };
  } catch (error) {
    throw new Error(`${error.message}; ${errors.join(", ")}`);
  } finally {
    one.close();
    other.close();
    await context.close();
  }
}
