// What the page puts on the window, and finds there: uPlot is a classic script, the map is for measurements and tests.

interface Window {
  ridelogMap: import("../../../../../infrastructure/http/web/map/city_map.js").CityMap;
  /** A classic script too, which is loaded only for an archive of tiles. */
  pmtiles: { PMTiles: new (address: string) => { getHeader(): Promise<{ tileType: number }>, getZxy(z: number, x: number, y: number): Promise<{ data: ArrayBuffer } | undefined> } };
  uPlot: new (options: object, data: (number | null)[][], into: HTMLElement) => any;
}
