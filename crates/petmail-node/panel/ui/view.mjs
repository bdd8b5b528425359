// The view library in one place: everything else imports it from here.

import htm from "../vendor/htm.mjs";
import { Fragment, h, render } from "../vendor/preact.mjs";

/** Makes elements from a template: text is text, never markup. */
export const html = htm.bind(h);
export { Fragment, render };
export {
  useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState,
} from "../vendor/hooks.mjs";
export { batch, computed, effect, signal } from "../vendor/signals.mjs";
