// The cookie that holds a session's id, and the address that it is for. Its name says what it may be relied on for: `__Host-` where the line is encrypted; elsewhere the
// port, since browsers share cookies between the ports of one machine.

const name = "pageferry";

/** Whether the line to the browser is encrypted, here or at a proxy before us. Who lies about it makes their own cookie stricter. */
export function isEncrypted(url: string, headers: Headers): boolean {
  return new URL(url).protocol === "https:" || headers.get("x-forwarded-proto") === "https";
}

/** Of this host, as the browser calls it. */
export function originOf({ url, headers }: { readonly url: string; readonly headers: Headers }): string {
  const { protocol, host } = new URL(url);
  return `${isEncrypted(url, headers) ? "https:" : protocol}//${host}`;
}

function cookieName(url: string, isSecure: boolean): string {
  return isSecure ? `__Host-${name}` : `${name}-${new URL(url).port || "80"}`;
}

/** The header that sets the cookie, or lets it go (`value` empty). */
export function cookieHeader(
  { url, headers }: { readonly url: string; readonly headers: Headers },
  value: string,
  lifeSeconds: number,
): string {
  const isSecure = isEncrypted(url, headers);
  const flags = `Path=/; HttpOnly; SameSite=Strict; Max-Age=${value === "" ? 0 : lifeSeconds}`;
  return `${cookieName(url, isSecure)}=${value}; ${flags}${isSecure ? "; Secure" : ""}`;
}

/** The id of the session in a request; `undefined` where there is none. */
export function sessionIn({
  url,
  headers,
}: {
  readonly url: string;
  readonly headers: Headers;
}): string | undefined {
  const wanted = cookieName(url, isEncrypted(url, headers));
  for (const pair of (headers.get("cookie") ?? "").split(";")) {
    const [key, value] = pair.trim().split("=");
    if (key === wanted && value !== undefined && /^[A-Za-z0-9_-]{43}$/.test(value)) return value;
  }
  return undefined;
}
