// The page: one instant for everything, the map, the pipeline strip, and the panel of what is selected.

import { html, render, useCallback, useEffect, useMemo, useRef, useState } from "./vendor/htm-preact.js";
import { address, allPages, ApiProblem, followLive, forgetSession, hasSession, request, signIn, signOut } from "./api.js";
import * as text from "./format.js";
import { CityMap } from "./map.js";
import { Id, OrderPanel, RiderPanel } from "./panels.js";
import { asOf, AXES, parsePlace, placeQuery, RATES, SPANS_MIN, statusAt } from "./when.js";

const PIPELINE_MS = 2000;
const TRAFFIC_MS = 10_000;
const PLAY_MS = 250;
const SCRUB_MS = 80;
const PAST_ORDERS_MS = 3 * 3_600_000;
const PAST_ORDERS_PAGES = 20;
const MAX_RIDERS = 5000;
const AXIS_NAMES = { event: "as it happened", known: "as known then", position: "by position" };
const MAX_FOUND = 30;

/** The colour scheme of the viewer; changes redraw canvas and charts. */
function useTheme() {
  const query = useMemo(() => window.matchMedia("(prefers-color-scheme: dark)"), []);
  const [dark, setDark] = useState(query.matches);
  useEffect(() => {
    const on = () => setDark(query.matches);
    query.addEventListener("change", on);
    return () => query.removeEventListener("change", on);
  }, []);
  return dark ? "dark" : "light";
}

/** Calls `work` now and every `ms` while `on`, never twice at once. @param {boolean} on @param {number} ms
 * @param {() => Promise<void>} work @param {any[]} inputs */
function useEvery(on, ms, work, inputs) {
  useEffect(() => {
    if (!on) return undefined;
    let timer = 0;
    let ended = false;
    const turn = async () => {
      if (!document.hidden) await work();
      if (!ended) timer = window.setTimeout(turn, ms);
    };
    turn();
    return () => {
      ended = true;
      window.clearTimeout(timer);
    };
  }, [on, ms, ...inputs]);
}

function SignIn({ onDone }) {
  const [problem, setProblem] = useState("");
  const field = useRef(/** @type {HTMLInputElement | null} */ (null));
  useEffect(() => field.current?.focus(), []);
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    try {
      await signIn(/** @type {HTMLInputElement} */ (field.current).value.trim());
      onDone();
    } catch (error) {
      setProblem(/** @type {Error} */ (error).message);
    }
  };
  return html`<div class="veil"><form class="sign-in" onSubmit=${submit} aria-label="Sign in">
    <h1>Ridelog</h1>
    <p>This server needs a token of the role <code>read</code>. It is changed for a cookie of 12 hours and kept nowhere else.</p>
    <label>Token <input ref=${field} type="password" autocomplete="current-password" required /></label>
    ${problem && html`<p class="problem" role="alert">${problem}</p>`}
    <button class="primary">Sign in</button>
  </form></div>`;
}

/** @param {{pipeline: any, rates: Map<string, number>, problem: string, link: string}} props */
function Strip({ pipeline, rates, problem, link }) {
  const bad = pipeline?.stages.filter((/** @type {any} */ stage) => stage.advice) ?? [];
  const state = problem ? "down" : !pipeline ? "starts" : bad.length ? "late" : "well";
  const words = { down: problem, starts: "measuring …", late: `${bad.length} of ${pipeline?.stages.length} stages need you`, well: "the pipeline is well" };
  return html`<section class="strip" aria-label="Pipeline">
    <details class=${state}>
      <summary><span class="dot" aria-hidden="true"></span><b role="status">${words[state]}</b>
        ${pipeline && html`<span class="quiet">position ${text.count(pipeline.head)}</span> <span class="quiet">${text.rate(rates.get("log") ?? 0)}</span>`}
        <span class="quiet link-state">${link}</span></summary>
      <ul class="stages-list">${(pipeline?.stages ?? []).map((/** @type {any} */ stage) => html`
        <li key=${stage.stage} class=${stage.advice ? "bad" : "good"}>
          <b>${stage.stage}</b>
          <span>${stage.position === null ? "–" : text.count(stage.position)}</span>
          <span title="events a second">${text.rate(rates.get(stage.stage) ?? 0)}</span>
          <span title="how long the oldest event waits">${stage.lag_seconds === null ? "" : text.age(stage.lag_seconds)}</span>
          <span class="state">${stage.state}</span>
          ${stage.advice && html`<span class="advice">${stage.advice}</span>`}
        </li>`)}
      </ul>
    </details>
    ${bad.length > 0 && html`<p class="advice">${bad[0].stage}: ${bad[0].state}. ${bad[0].advice}</p>`}
  </section>`;
}

/** @param {{place: any, shownMs: number, head: number, rate: number, playing: boolean, span: number, onPlace: (change: any) => void,
 *   onNow: () => void, onPlay: (playing: boolean) => void, onRate: (rate: number) => void, onSpan: (span: number) => void}} props */
function TimeBar({ place, shownMs, head, rate, playing, span, onPlace, onNow, onPlay, onRate, onSpan }) {
  const byPosition = place.axis === "position";
  const live = place.at === null;
  const now = Date.now();
  const [least, most] = byPosition ? [Math.max(0, head - span * 1000), head] : [now - span * 60_000, now];
  const value = live ? most : Math.max(least, Math.min(most, place.at));
  const label = live ? "now" : byPosition ? `position ${text.count(place.at)}` : `${text.day(place.at)}, ${text.clock(place.at)}`;
  return html`<footer class="time" aria-label="Time">
    <button class="icon" onClick=${() => onPlay(!playing)} aria-label=${playing ? "Pause" : "Play"} disabled=${live && !playing}>${playing ? "❚❚" : "▶"}</button>
    <select aria-label="Speed of the replay" value=${rate} onChange=${(/** @type {any} */ event) => onRate(Number(event.target.value))}>
      ${RATES.map((one) => html`<option value=${one} key=${one}>×${one}</option>`)}
    </select>
    <label class="slider"><span class="visually-hidden">Instant</span>
      <input type="range" min=${least} max=${most} step=${byPosition ? 1 : 1000} value=${value} aria-valuetext=${label}
        onInput=${(/** @type {any} */ event) => onPlace({ at: Number(event.target.value) })} />
    </label>
    <output class="instant">${label}</output>
    <button class=${live ? "now on" : "now"} aria-pressed=${live} onClick=${onNow}>Now</button>
    <select aria-label="Axis" value=${place.axis} onChange=${(/** @type {any} */ event) => onPlace({ axis: event.target.value, at: convert(place, event.target.value, shownMs, head) })}>
      ${AXES.map((axis) => html`<option value=${axis} key=${axis}>${AXIS_NAMES[axis]}</option>`)}
    </select>
    <select class="span" aria-label="Length of the slider" value=${span} onChange=${(/** @type {any} */ event) => onSpan(Number(event.target.value))}>
      ${SPANS_MIN.map((one) => html`<option value=${one} key=${one}>${byPosition ? `${text.count(one * 1000)} events` : one < 60 ? `${one} min` : `${one / 60} h`}</option>`)}
    </select>
  </footer>`;
}

/** The same moment on another axis, as well as it is known here. @param {any} place @param {string} axis
 * @param {number} shownMs @param {number} head */
function convert(place, axis, shownMs, head) {
  if (place.at === null) return null;
  if (axis === "position") return place.position ?? head;
  return place.axis === "position" ? shownMs : place.at;
}

/** @param {{riders: any[], orders: any[], onSelect: (kind: string, id: string) => void}} props */
function Finder({ riders, orders, onSelect }) {
  const [wanted, setWanted] = useState("");
  const needle = wanted.trim().toLowerCase();
  const all = [...riders.map((one) => ["rider", one.rider_id, ""]), ...orders.map((one) => ["order", one.order_id, text.words(one.shown_status ?? one.status)])];
  const found = needle ? all.filter(([, id]) => id.toLowerCase().includes(needle)) : [];
  return html`<search class="finder">
    <input type="search" placeholder="Find a rider or an order" aria-label="Find a rider or an order" value=${wanted}
      onInput=${(/** @type {any} */ event) => setWanted(event.target.value)}
      onKeyDown=${(/** @type {KeyboardEvent} */ event) => {
        if (event.key === "Escape") setWanted("");
        if (event.key === "Enter" && found.length) {
          onSelect(found[0][0], found[0][1]);
          setWanted("");
        }
      }} />
    ${needle && html`<ul>${found.slice(0, MAX_FOUND).map(([kind, id, status]) => html`
      <li key=${kind + id}><button onClick=${() => { onSelect(kind, id); setWanted(""); }}>
        <span class=${`mark ${kind}`} aria-hidden="true"></span><${Id} id=${id} /> <small>${status || kind}</small></button></li>`)}
      ${found.length === 0 && html`<li class="quiet">nothing on the map has this in its id</li>`}
      ${found.length > MAX_FOUND && html`<li class="quiet">and ${found.length - MAX_FOUND} more</li>`}
    </ul>`}
  </search>`;
}

function App() {
  const theme = useTheme();
  const [place, setPlace] = useState(() => parsePlace(location.search));
  const [denied, setDenied] = useState(false);
  // The number of sign-ins on this page. Panels of the past read once: after a sign-in they must read again.
  const [session, setSession] = useState(0);
  const [link, setLink] = useState("connecting …");
  const [pipeline, setPipeline] = useState(/** @type {any} */ (null));
  const [rates, setRates] = useState(() => new Map());
  const [problem, setProblem] = useState("");
  const [pastProblem, setPastProblem] = useState("");
  const [playing, setPlaying] = useState(false);
  const [rate, setRate] = useState(5);
  const [span, setSpan] = useState(60);
  const [shownMs, setShownMs] = useState(Date.now());
  const [counts, setCounts] = useState({ riders: /** @type {any[]} */ ([]), orders: /** @type {any[]} */ ([]), more: false, moreOrders: false });
  const [follow, setFollow] = useState(false);
  const canvas = useRef(/** @type {HTMLCanvasElement | null} */ (null));
  const map = useRef(/** @type {CityMap | null} */ (null));
  const known = useRef({ riders: new Map(), orders: new Map() });
  const current = useRef(place);
  current.current = place;
  const live = place.at === null;

  const change = useCallback((/** @type {any} */ part) => setPlace((old) => ({ ...old, ...part })), []);
  const select = useCallback((/** @type {string | null} */ kind, /** @type {string | null} */ id) => {
    setFollow(false);
    change({ rider: kind === "rider" ? id : null, order: kind === "order" ? id : null });
  }, []);
  const find = useCallback((/** @type {string} */ kind, /** @type {string} */ id) => {
    select(kind, id);
    map.current?.centre(kind, id);
  }, []);
  const failed = useCallback((/** @type {unknown} */ error, /** @type {(text: string) => void} */ show) => {
    if (error instanceof ApiProblem && error.status === 401) setDenied(true);
    else if (/** @type {Error} */ (error).name !== "AbortError") show(/** @type {Error} */ (error).message);
  }, []);

  useEffect(() => { if (denied) forgetSession(); }, [denied]);
  useEffect(() => {
    history.replaceState(null, "", `${location.pathname}${placeQuery(place)}`);
  }, [place]);
  useEffect(() => {
    const on = () => setPlace(parsePlace(location.search));
    window.addEventListener("popstate", on);
    return () => window.removeEventListener("popstate", on);
  }, []);

  // The map is made once; what it shows comes by its methods, four times a second at most.
  useEffect(() => {
    const label = /** @type {HTMLElement} */ (document.getElementById("hover"));
    map.current = new CityMap(/** @type {HTMLCanvasElement} */ (canvas.current), select, (kind, id) => {
      label.textContent = id === null ? "" : `${kind} ${text.visible(id)}`;
      /** @type {HTMLCanvasElement} */ (canvas.current).classList.toggle("over", id !== null);
    });
    window.ridelogMap = map.current;
  }, []);
  useEffect(() => map.current?.recolour(), [theme]);

  const showLive = useCallback((/** @type {boolean} */ replace) => {
    const riders = [...known.current.riders.values()];
    const orders = [...known.current.orders.values()];
    map.current?.setRiders(riders, { replace, glide: true });
    map.current?.setOrders(orders);
    map.current?.fit();
    setCounts({ riders, orders, more: false, moreOrders: false });
  }, []);

  // Live: one stream carries everything. It stays open in the past, so that Now is at once.
  useEffect(() => {
    if (denied) return undefined;
    return followLive({
      onState: setLink,
      onDenied: () => setDenied(true),
      onData: (kind, data) => {
        const { riders, orders } = known.current;
        if (kind === "snapshot") {
          riders.clear();
          orders.clear();
        }
        for (const rider of data.riders) {
          riders.delete(rider.rider_id);
          riders.set(rider.rider_id, rider);
        }
        // The server no longer sends those that it does not hold: they would stay where they were.
        const dropped = [...riders.keys()].slice(0, Math.max(0, riders.size - MAX_RIDERS));
        for (const id of dropped) riders.delete(id);
        for (const order of data.orders) {
          if (["completed", "cancelled"].includes(order.status)) orders.delete(order.order_id);
          else orders.set(order.order_id, order);
        }
        if (current.current.at !== null) return;
        if (kind === "snapshot") showLive(true);
        else {
          map.current?.setRiders(data.riders, { replace: false, glide: true });
          map.current?.dropRiders(dropped);
          if (data.orders.length) map.current?.setOrders([...orders.values()]);
          map.current?.fit();
          if (data.orders.length || riders.size !== map.current?.shownRiders) {
            if (map.current) map.current.shownRiders = riders.size;
            setCounts({ riders: [...riders.values()], orders: [...orders.values()], more: false, moreOrders: false });
          }
        }
      },
    });
  }, [denied, session]);
  useEffect(() => {
    if (map.current) {
      map.current.nowMs = live ? () => Date.now() : () => shownMs;
      map.current.showsTraffic = live;
    }
  }, [live, shownMs]);
  useEffect(() => {
    if (!live) return;
    setPastProblem("");
    showLive(true);
  }, [live]);
  useEvery(live, 1000, async () => setShownMs(Date.now()), []);

  // The past: the places of all riders and the orders of then. While the handle moves, one read at a time, the newest.
  const wanted = useRef("");
  const reading = useRef(false);
  const readPast = useCallback(async () => {
    if (reading.current) return;
    reading.current = true;
    try {
      for (let asked = ""; asked !== wanted.current && wanted.current; ) {
        asked = wanted.current;
        const then = await request(address("riders", asked));
        const until = `until=${then.at_ms + 1}`;
        const since = `since=${Math.max(0, then.at_ms - PAST_ORDERS_MS)}`;
        const readPage = (/** @type {string} */ cursor) =>
          request(address("deliveries", since, until, "limit=1000", cursor && `cursor=${encodeURIComponent(cursor)}`));
        const found = await allPages(readPage, PAST_ORDERS_PAGES, () => asked === wanted.current);
        if (current.current.at === null) return;
        if (asked !== wanted.current) continue;
        const orders = found.items
          .map((/** @type {any} */ order) => ({ ...order, shown_status: statusAt(order, then.at_ms) }))
          .filter((/** @type {any} */ order) => order.shown_status !== null);
        map.current?.setRiders(then.items, { replace: true, glide: false });
        map.current?.setOrders(orders);
        map.current?.fit();
        setShownMs(then.at_ms);
        setPastProblem("");
        setCounts({ riders: then.items, orders, more: then.more, moreOrders: found.more });
        current.current.position = then.position;
      }
    } catch (error) {
      failed(error, setPastProblem);
    } finally {
      reading.current = false;
    }
  }, []);
  useEffect(() => {
    wanted.current = asOf(place);
    if (live || denied) return undefined;
    const timer = window.setTimeout(readPast, SCRUB_MS);
    return () => window.clearTimeout(timer);
  }, [place.at, place.axis, denied, session]);

  // Replay: the handle moves by itself, from the past to now.
  useEffect(() => {
    if (!playing || live) return undefined;
    const timer = window.setInterval(() => {
      setPlace((old) => {
        if (old.at === null) return old;
        const step = old.axis === "position" ? rate * 50 : PLAY_MS * rate;
        const end = old.axis === "position" ? (pipeline?.head ?? old.at) : Date.now() - 1000;
        return old.at + step >= end ? { ...old, at: null } : { ...old, at: old.at + step };
      });
    }, PLAY_MS);
    return () => window.clearInterval(timer);
  }, [playing, live, rate, pipeline?.head]);
  useEffect(() => { if (live) setPlaying(false); }, [live]);

  const before = useRef(/** @type {any} */ (null));
  useEvery(!denied, PIPELINE_MS, async () => {
    try {
      const found = await request("pipeline");
      const last = before.current;
      if (last && found.at_ms > last.at_ms) {
        const seconds = (found.at_ms - last.at_ms) / 1000;
        const old = new Map(last.stages.map((/** @type {any} */ stage) => [stage.stage, stage.position]));
        setRates(new Map(found.stages.map((/** @type {any} */ stage) =>
          [stage.stage, Math.max(0, (stage.position ?? 0) - (old.get(stage.stage) ?? stage.position ?? 0)) / seconds])));
      }
      before.current = found;
      setPipeline(found);
      setProblem("");
    } catch (error) {
      failed(error, setProblem);
    }
  }, [session]);
  useEvery(!denied, TRAFFIC_MS, async () => {
    try {
      map.current?.setTraffic(await request("traffic?outlines=true"));
    } catch (error) {
      if (!(error instanceof ApiProblem) || error.code !== "city_unavailable") failed(error, setProblem);
    }
  }, [session]);

  const selected = place.rider !== null ? { kind: "rider", id: place.rider } : place.order !== null ? { kind: "order", id: place.order } : null;
  useEffect(() => map.current?.setSelection(selected, []), [place.rider, place.order]);
  useEffect(() => {
    if (map.current) {
      map.current.follow = follow;
      map.current.draw();
    }
  }, [follow]);
  const onTrack = useCallback((/** @type {any[]} */ points) => {
    const { rider } = current.current;
    if (rider !== null) map.current?.setSelection({ kind: "rider", id: rider }, points);
  }, []);

  const leave = async () => {
    try {
      await signOut();
      setDenied(true);
    } catch (error) {
      failed(error, setProblem);
    }
  };

  const keys = (/** @type {KeyboardEvent} */ event) => {
    const typing = /** @type {HTMLElement} */ (event.target).closest("input, select, textarea, canvas");
    if (event.key === "Escape" && selected) select(null, null);
    else if (typing && event.key !== "Escape") return;
    else if (event.key === "n") change({ at: null });
    else if (event.key === " " && !live) {
      event.preventDefault();
      setPlaying(!playing);
    } else if (event.key === "/") {
      event.preventDefault();
      /** @type {HTMLElement | null} */ (document.querySelector(".finder input"))?.focus();
    }
  };
  useEffect(() => {
    document.addEventListener("keydown", keys);
    return () => document.removeEventListener("keydown", keys);
  });

  return html`
    <main class=${selected ? "with-panel" : ""}>
      <header>
        <h1>Ridelog</h1>
        <${Strip} pipeline=${pipeline} rates=${rates} problem=${problem} link=${link} />
        <${Finder} riders=${counts.riders} orders=${counts.orders} onSelect=${find} />
        ${!denied && hasSession() && html`<button class="quiet" onClick=${leave}>Sign out</button>`}
      </header>
      <div class="map">
        <canvas ref=${canvas} tabindex="0" role="application" aria-label="Map of riders, orders and traffic. Arrow keys move it, plus and minus zoom, 0 shows everything; find one by its id in the field above."></canvas>
        <p class="legend"><span><i class="mark rider"></i>${text.count(counts.riders.length)}${counts.more ? "+" : ""} riders</span>
          <span><i class="mark order"></i>${text.count(counts.orders.length)}${counts.moreOrders ? "+" : ""} open orders</span>
          <span class=${live ? "cells" : "cells hidden"}><i class="mark free"></i>free <i class="mark slow"></i>slow <i class="mark jam"></i>jam</span></p>
        ${!live && html`<p class="past" role="status">${place.axis === "position" ? html`position ${text.count(place.at)}, ` : ""}${text.day(shownMs)} ${text.clock(shownMs)}, ${AXIS_NAMES[place.axis]}${pastProblem && html`<span class="problem">${pastProblem}</span>`}</p>`}
        <p id="hover" aria-hidden="true"></p>
        <div class="zoom">
          <button aria-label="Zoom in" onClick=${() => map.current?.zoom(1.6)}>+</button>
          <button aria-label="Zoom out" onClick=${() => map.current?.zoom(1 / 1.6)}>−</button>
          <button aria-label="Show everything" onClick=${() => map.current?.fit(true)}>⤢</button>
        </div>
      </div>
      ${selected && html`<aside class="panel" aria-label=${`${selected.kind} ${text.visible(selected.id)}`}>
        <div class="panel-head">
          <h2><small>${selected.kind}</small> <${Id} id=${selected.id} /></h2>
          ${selected.kind === "rider" && html`<button class="chip" aria-pressed=${follow} onClick=${() => setFollow(!follow)}>Follow</button>`}
          <button class="icon" aria-label="Close" onClick=${() => select(null, null)}>✕</button>
        </div>
        ${selected.kind === "rider"
          ? html`<${RiderPanel} key=${`${session} ${selected.id}`} id=${selected.id} place=${place} theme=${theme} onTrack=${onTrack} />`
          : html`<${OrderPanel} key=${`${session} ${selected.id}`} id=${selected.id} place=${place} theme=${theme} atMs=${live ? Date.now() : shownMs} onRider=${(/** @type {string} */ id) => find("rider", id)} />`}
      </aside>`}
      <${TimeBar} place=${place} shownMs=${shownMs} head=${pipeline?.head ?? 0} rate=${rate} playing=${playing} span=${span}
        onPlace=${change} onNow=${() => change({ at: null })} onPlay=${setPlaying} onRate=${setRate} onSpan=${setSpan} />
    </main>
    ${denied && html`<${SignIn} onDone=${() => { setDenied(false); setSession(session + 1); }} />`}`;
}

const root = /** @type {HTMLElement} */ (document.getElementById("app"));
root.replaceChildren();
render(html`<${App} />`, root);
