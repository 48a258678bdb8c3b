// Opens a study in OHIF in headless Chromium and tells what is on the screen, as JSON on standard output.
//
// node view.mjs CONFIG.json, with: playwright (the module's path), viewer (OHIF's dist folder), orthanc (its
// URL), chromium (the program), study and report (study's and report's series' Instance UIDs), count (of series),
// beside (pane of a 2x2 layout -> description of the series to open there), folder (for screenshots). Everything is
// on loopback; the browser gets no other host.

import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { pathToFileURL } from "node:url";

const config = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));
const { chromium } = await import(pathToFileURL(config.playwright));
const orthanc = new URL(config.orthanc);
const SECONDS = 1000;

const appConfig = `window.config = {
  routerBasename: "/", extensions: [], modes: [], showStudyList: true,
  // The guided tour comes some seconds late and lies over everything.
  customizationService: { "ohif.tours": { $set: [] } },
  showWarningMessageForCrossOrigin: false, showCPUFallbackMessage: false, showLoadingIndicator: true,
  maxNumberOfWebWorkers: 2, investigationalUseDialog: { option: "never" }, defaultDataSourceName: "orthanc",
  dataSources: [{
    namespace: "@ohif/extension-default.dataSourcesModule.dicomweb", sourceName: "orthanc",
    configuration: {
      friendlyName: "Orthanc", name: "orthanc", qidoRoot: "/dicom-web", wadoRoot: "/dicom-web", wadoUriRoot: "/wado",
      imageRendering: "wadors", thumbnailRendering: "wadors", qidoSupportsIncludeField: false,
      supportsFuzzyMatching: false, supportsWildcard: true, omitQuotationForMultipartRequest: true,
      bulkDataURI: { enabled: false },
    },
  }],
};`;
const types = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".wasm": "application/wasm",
  ".json": "application/json", ".svg": "image/svg+xml", ".png": "image/png", ".woff2": "font/woff2" };

function answer(response, type, body) {
  response.writeHead(200, { "Content-Type": type, "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp", "Cross-Origin-Resource-Policy": "same-origin" });
  response.end(body);
}

// One origin for the viewer and the archive, so that the browser's isolation rules let both through.
const server = http.createServer((request, response) => {
  const url = new URL(request.url, "http://127.0.0.1");
  if (url.pathname.startsWith("/dicom-web") || url.pathname.startsWith("/wado")) {
    const onward = http.request({ host: orthanc.hostname, port: orthanc.port, path: request.url,
      method: request.method, headers: { ...request.headers, host: orthanc.host } }, (found) => {
      response.writeHead(found.statusCode, { ...found.headers, "Cross-Origin-Resource-Policy": "same-origin" });
      found.pipe(response);
    });
    onward.on("error", () => { response.writeHead(502); response.end(); });
    request.pipe(onward);
    return;
  }
  if (url.pathname === "/app-config.js") { answer(response, types[".js"], appConfig); return; }
  const wanted = path.join(config.viewer, path.normalize(decodeURIComponent(url.pathname)));
  const inside = wanted.startsWith(path.resolve(config.viewer)) && fs.existsSync(wanted) && fs.statSync(wanted).isFile();
  const file = inside ? wanted : path.join(config.viewer, "index.html");
  answer(response, types[path.extname(file)] ?? "application/octet-stream", fs.readFileSync(file));
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const origin = `http://127.0.0.1:${server.address().port}`;

const browser = await chromium.launch({ executablePath: config.chromium, args: ["--no-sandbox", "--use-gl=angle",
  "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist",
  "--disable-background-networking"] });
const PANE = "[data-cy=viewport-pane]";
const found = { series: [], annotation: "", panes: [], errors: [] };
try {
  const context = await browser.newContext({ viewport: { width: 1600, height: 1000 } });
  const page = await context.newPage();
  page.setDefaultTimeout(100 * SECONDS);
  page.on("pageerror", (error) => found.errors.push(String(error)));
  await page.route((url) => url.origin !== origin, (route) => route.abort());
  await page.goto(`${origin}/viewer?StudyInstanceUIDs=${config.study}&initialSeriesInstanceUID=${config.report}`);
  // The report draws the outline and its measurements on the photograph, as SVG.
  const text = page.locator(`${PANE} svg text`);
  await text.first().waitFor();
  await page.locator("[data-cy^=study-browser-thumbnail]").nth(config.count - 1).waitFor();
  found.series = await page.locator("[data-cy^=study-browser-thumbnail]").allInnerTexts();
  found.annotation = (await text.allTextContents()).join(" | ");
  await page.screenshot({ path: path.join(config.folder, "report.png") });
  // Two by two, to lay the others beside it.
  await page.locator("[data-cy=Layout]").click();
  await page.locator("[data-cy=Layout-1-1]").click();
  const panes = page.locator(PANE);
  await panes.nth(3).waitFor();
  for (const [position, description] of Object.entries(config.beside)) {
    await panes.nth(Number(position)).click();
    await page.locator("[data-cy^=study-browser-thumbnail]").filter({ hasText: description }).first().dblclick();
    await panes.nth(Number(position)).locator("canvas").first().waitFor();
    await page.waitForTimeout(1 * SECONDS);
  }
  await text.first().waitFor();
  await page.waitForTimeout(1 * SECONDS);
  found.panes = await panes.locator("canvas").count();
  await page.screenshot({ path: path.join(config.folder, "study.png") });
} catch (error) {
  found.errors.push(String(error));
} finally {
  await browser.close();
  server.close();
}
process.stdout.write(JSON.stringify(found));
process.exit(0);
