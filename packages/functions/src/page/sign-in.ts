// The pages of those who are not signed in, and of what went wrong.

import { type Html, html, none } from "./html.ts";
import { withCode } from "./overview.ts";

export interface SignInView {
  /** Where to go afterwards: a path of this host. */
  readonly to: string;
  /** A code that `up` printed. */
  readonly code?: string | undefined;
  readonly failure?: { readonly detail: string; readonly hint: string } | undefined;
  readonly isEncrypted: boolean;
  readonly isLoopback: boolean;
}

export function signInMain({ to, code, failure, isEncrypted, isLoopback }: SignInView): Html {
  const wrong =
    failure === undefined
      ? none
      : html`<p class="bad" role="alert" id="wrong">${failure.detail.charAt(0).toUpperCase()}${failure.detail.slice(1)}. <span class="dim">${withCode(failure.hint)}</span></p>`;
  if (code !== undefined && failure === undefined) {
    return html`<div class="narrow"><h1>Sign in</h1><p>This link signs in once, with all that the host's own token may do.</p><form class="stack" method="post" action="/sign-in"><input type="hidden" name="code" value="${code}"><input type="hidden" name="to" value="${to}"><button class="main">Sign in</button></form></div>`;
  }
  return html`<div class="narrow"><h1>Sign in</h1>${wrong}
<form class="stack" method="post" action="/sign-in"><label>Token <span>one that <code>pageferry token create</code> printed, or the one in the file <code>token</code> of the host's data directory</span><input type="password" name="token" required maxlength="1024" autocomplete="current-password" autocapitalize="off" spellcheck="false"${failure === undefined ? none : html` aria-invalid="true" aria-describedby="wrong"`}></label><input type="hidden" name="to" value="${to}"><button class="main">Sign in</button></form>
${isEncrypted || isLoopback ? none : html`<p class="warn">This line is not encrypted: whoever is on it can read the token. Put TLS in front of the host.</p>`}
<p class="dim small">To see takes the scope <code>read</code>, to restore <code>restore</code>, to pin <code>operate</code>. The page does what the token may, for twelve hours. Signed in already, and came from elsewhere? <a href="${to}">Go on</a></p></div>`;
}

/** What a person sees of an error: what happened, what to do, and where to go back to. */
export function problemMain({
  title,
  detail,
  hint,
  back,
}: {
  readonly title: string;
  readonly detail: string;
  readonly hint: string;
  readonly back: { readonly href: string; readonly text: string };
}): Html {
  return html`<div class="verdict look"><h1>${title}</h1><p><bdi>${detail}</bdi></p><p>${withCode(hint)}</p></div><p><a href="${back.href}">${back.text}</a></p>`;
}
