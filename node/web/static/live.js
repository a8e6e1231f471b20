/** Server-sent events of the node, and a word to the reader while they do not come. */

const banner = document.getElementById("connection");

function say(text, link) {
  banner.textContent = text;
  if (link) {
    const anchor = document.createElement("a");
    anchor.href = link;
    anchor.textContent = "Log in";
    banner.append(" ", anchor);
  }
  banner.hidden = !text;
}

/** Call `onPart(name, value)` for each part of `parts` that changes, until the page is left. */
export function watch(parts, onPart) {
  const url = `/events?parts=${[...new Set(parts)].join(",")}`;
  let source;

  function open() {
    source = new EventSource(url);
    source.onopen = () => say("");
    source.onerror = () => { source.close(); explain(); };
    for (const part of new Set(parts)) {
      source.addEventListener(part, (event) => onPart(part, JSON.parse(event.data)));
    }
  }

  /** The node is away, or it no longer knows this session: find out which, then try again. */
  async function explain() {
    let answer;
    try {
      answer = await fetch("/session", { headers: { Accept: "application/json" }, cache: "no-store" });
    } catch {
      say("The node does not answer. It may be restarting; this page tries again by itself.");
    }
    if (answer?.status === 401) {
      say("You are logged out.", `/login?next=${encodeURIComponent(location.pathname)}`);
      return;
    }
    setTimeout(open, 2000);
  }

  addEventListener("pagehide", () => source.close());
  addEventListener("pageshow", (event) => { if (event.persisted) open(); });
  open();
}
