// A browser gives no worker to a page that it opened from a folder, and the site's search runs in one.
// There, a hidden frame takes the worker's place: it runs the worker's script, and messages go to and fro as before.
// The theme looks for this file's name, and would otherwise load such a script from another site.

class IFrameWorker extends EventTarget {
  constructor(script) {
    super();
    const frame = document.createElement("iframe");
    frame.hidden = true;
    frame.srcdoc = "<!doctype html><title>search</title>";
    this.send = new Promise((ready) => {
      frame.onload = () => {
        const inside = frame.contentWindow;
        const send = inside.postMessage.bind(inside);
        inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
        const element = inside.document.createElement("script");
        element.src = new URL(script, location.href).href;
        element.onload = () => ready(send);
        inside.document.body.append(element);
      };
    });
    document.documentElement.append(frame);
  }

  postMessage(data) {
    this.send.then((send) => send(data, "*"));
  }
}

if (location.protocol === "file:") {
  window.IFrameWorker = IFrameWorker;
  window.Worker = IFrameWorker;
}
