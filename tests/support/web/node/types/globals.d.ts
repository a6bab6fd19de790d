// What the page puts on the window, and finds there: uPlot is a classic script, the map is for measurements and tests.

interface Window {
  ridelogMap: import("../../../../../infrastructure/http/web/map/city_map.js").CityMap;
  uPlot: new (options: object, data: (number | null)[][], into: HTMLElement) => any;
}
