// The page: one instant for everything, the map, the pipeline strip, and the panel that is open.

import { html, render, useCallback, useEffect, useState } from "./vendor/htm-preact.js";
import { ApiProblem, forgetSession, hasSession, signOut } from "./api.js";
import { Finder } from "./finder.js";
import { useTheme, useEvery } from "./hooks.js";
import { useKeys } from "./keyboard.js";
import { NOTHING, useLiveCity, useTraffic } from "./live_city.js";
import { useTiles } from "./map_tiles.js";
import { MapView } from "./map_view.js";
import { memo } from "./memo.js";
import { PANELS } from "./panels/all.js";
import { PanelHost, PanelMenu } from "./panels/host.js";
import { useOtherTabs } from "./other_tabs.js";
import { usePastCity } from "./past_city.js";
import { Strip, usePipeline } from "./pipeline_strip.js";
import { usePlace } from "./place.js";
import { SignIn } from "./sign_in.js";
import { TimeBar, useReplay } from "./time_bar.js";
import { useTitle } from "./title.js";

// The handle moves sixty times a second, and these stay as they are.
const SteadyStrip = memo(Strip);
const SteadyFinder = memo(Finder);
const SteadyMenu = memo(PanelMenu, (old, next) => old.page.demo === next.page.demo && old.page.place.panel?.name === next.page.place.panel?.name);

/** @typedef {import("./map/city_map.js").CityMap} CityMap */
/** @typedef {import("./when.js").Place} Place */

function App() {
  const theme = useTheme();
  const [place, setPlace] = usePlace();
  const [denied, setDenied] = useState(false);
  // The number of sign-ins on this page. Panels of the past read once: after a sign-in they must read again.
  const [session, setSession] = useState(0);
  const [map, setMap] = useState(/** @type {CityMap | null} */ (null));
  const [counts, setCounts] = useState(NOTHING);
  const [shown, setShown] = useState(/** @type {{ms: number, position: number | null}} */ ({ ms: Date.now(), position: null }));
  const [problem, setProblem] = useState("");
  const [pastProblem, setPastProblem] = useState("");
  const [playing, setPlaying] = useState(false);
  const [rate, setRate] = useState(5);
  const [span, setSpan] = useState(60);
  const [follow, setFollow] = useState(false);
  const live = place.at === null;

  const change = useCallback((/** @type {Partial<Place>} */ part) => setPlace((/** @type {Place} */ old) => ({ ...old, ...part })), []);
  const open = useCallback((/** @type {string} */ name, /** @type {string} */ id = "") => {
    setFollow(false);
    change({ panel: { name, id } });
  }, []);
  const close = useCallback(() => {
    setFollow(false);
    change({ panel: null });
  }, []);
  const select = useCallback((/** @type {import("./map/layers.js").Hit | null} */ hit) => (hit ? open(hit.kind, hit.id) : close()), []);
  const find = useCallback((/** @type {string} */ kind, /** @type {string} */ id) => {
    open(kind, id);
    map?.centre({ kind, id });
  }, [map]);
  const failed = useCallback((/** @type {unknown} */ error, /** @type {(text: string) => void} */ show) => {
    if (error instanceof ApiProblem && error.status === 401) setDenied(true);
    else if (/** @type {Error} */ (error).name !== "AbortError") show(/** @type {Error} */ (error).message);
  }, []);
  const signedIn = useCallback(() => {
    setDenied(false);
    setSession((/** @type {number} */ old) => old + 1);
  }, []);
  const leave = async () => {
    try {
      await signOut();
      setDenied(true);
    } catch (error) {
      failed(error, setProblem);
    }
  };

  useEffect(() => { if (denied) forgetSession(); }, [denied]);
  useOtherTabs({ denied, onSignedIn: signedIn, onDenied: () => setDenied(true) });
  useTitle(place);
  const { pipeline, rates, problem: pipelineProblem, measuredMs } = usePipeline(!denied, session, failed);
  const link = useLiveCity({ on: !denied, session, live, map, onShown: setCounts, onDenied: () => setDenied(true) });
  useTraffic(!denied, session, map, (error) => failed(error, setProblem), () => setProblem(""));
  const tiles = useTiles(!denied, session, map);
  usePastCity({
    on: !denied, session, place, map,
    onShown: (city) => {
      setShown({ ms: city.ms, position: city.position });
      setCounts(city);
      setPastProblem("");
    },
    onProblem: (error) => failed(error, setPastProblem),
  });
  useEvery(live, 1000, async () => setShown({ ms: Date.now(), position: null }), []);
  useEffect(() => {
    if (!live) return;
    setPastProblem("");
    setPlaying(false);
  }, [live]);
  useReplay({ on: playing && !live, rate, head: pipeline?.head ?? Infinity, setPlace });
  useEffect(() => map?.setScene({ selected: place.panel && { kind: place.panel.name, id: place.panel.id } }), [map, place.panel]);
  useEffect(() => map?.setFollow(follow), [map, follow]);

  /** @type {import("./panels/registry.js").PageContext} */
  const page = { place, live, shownMs: live ? Date.now() : shown.ms, head: pipeline?.head ?? 0, demo: pipeline?.demo ?? false, pipeline, riders: counts.riders, orders: counts.orders, panels: PANELS, theme, map, follow, setFollow, open, find, close, change, failed };
  useKeys({ page, playing, onPlay: setPlaying, on: !denied });

  return html`
    <main class=${place.panel ? "with-panel" : ""} inert=${denied}>
      <header>
        <h1>Ridelog</h1>
        <${SteadyStrip} pipeline=${pipeline} rates=${rates} problem=${pipelineProblem || problem} measuredMs=${measuredMs} link=${link} pastMs=${live ? null : shown.ms} />
        <${SteadyFinder} riders=${counts.riders} orders=${counts.orders} onSelect=${find} />
        <${SteadyMenu} page=${page} />
        ${!denied && hasSession() && html`<button class="quiet" onClick=${leave}>Sign out</button>`}
      </header>
      <${MapView} map=${map} onMap=${setMap} onSelect=${select} theme=${theme} place=${place} shownMs=${shown.ms} counts=${counts} problem=${pastProblem} tiles=${tiles} />
      <${PanelHost} page=${page} session=${session} />
      <${TimeBar} place=${place} shown=${shown} head=${pipeline?.head ?? 0} rate=${rate} playing=${playing} span=${span}
        onPlace=${change} onNow=${() => change({ at: null })} onPlay=${setPlaying} onRate=${setRate} onSpan=${setSpan} />
    </main>
    ${denied && html`<${SignIn} onDone=${signedIn} />`}`;
}

const root = /** @type {HTMLElement} */ (document.getElementById("app"));
root.replaceChildren();
render(html`<${App} />`, root);
