// Whether a request that carries a cookie was made by our own page: a browser tells, and a page elsewhere cannot lie about it.

/** What is asked for with a cookie: from our page, by a person who typed it, or by a browser that does not say. */
export function mayRead(headers: Headers): boolean {
  const site = headers.get("sec-fetch-site");
  return site === null || site === "same-origin" || site === "none";
}

/** What changes something must say where it comes from. Browsers say the site where the line can be trusted, and the origin always. */
export function mayChange(headers: Headers): boolean {
  const site = headers.get("sec-fetch-site");
  if (site !== null) return site === "same-origin";
  const origin = headers.get("origin");
  return origin !== null && URL.canParse(origin) && new URL(origin).host === headers.get("host");
}
