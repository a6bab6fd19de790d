// Tiles of a PMTiles archive, which is read by ranges of HTTP. Loaded only where the setting `map_tiles` names one.

/** Types of tiles by the format's numbers, of those that a browser shows as an image. @type {Record<number, string>} */
const IMAGES = { 2: "image/png", 3: "image/jpeg", 4: "image/webp", 5: "image/avif" };
const VECTOR = 1;

/** Loads the library, once. It is a classic script. @returns {Promise<void>} */
function loadLibrary() {
  if (window.pmtiles) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = "web/vendor/pmtiles.js";
    script.onload = () => resolve();
    script.onerror = () => reject(new Error("this server does not send the library that reads it"));
    document.head.append(script);
  });
}

/** @param {Uint8Array} bytes @param {string} type @returns {Promise<string>} an address that holds them: the page's policy
 * allows no other one for an image that was read by a script */
function dataAddress(bytes, type) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(new Blob([/** @type {Uint8Array<ArrayBuffer>} */ (bytes)], { type }));
  });
}

/** Opens an archive. @param {string} address
 * @returns {Promise<{addressOf: import("./tiles.js").AddressOf | null, problem: string}>} `problem`: why it has no tiles for
 * this map @throws {Error} if it cannot be read now */
export async function openArchive(address) {
  await loadLibrary();
  const archive = new window.pmtiles.PMTiles(address);
  const { tileType } = await archive.getHeader();
  const type = IMAGES[tileType];
  if (!type) {
    const what = tileType === VECTOR ? "vector tiles" : "tiles of an unknown type";
    return { addressOf: null, problem: `The PMTiles archive of RIDELOG_MAP_TILES has ${what}. The map shows raster tiles: PNG, JPEG, WebP or AVIF.` };
  }
  const addressOf = async (/** @type {number} */ z, /** @type {number} */ x, /** @type {number} */ y) => {
    const found = await archive.getZxy(z, x, y);
    return found ? dataAddress(new Uint8Array(found.data), type) : null;
  };
  return { addressOf, problem: "" };
}
