/** Annotations by which an object is tried out: it decides nothing, and what it would do is recorded. */
import type { Report } from './schema.ts'

/** Istio's, for AuthorizationPolicy alone (istio-semantics §1.10): it refuses it on any other kind. */
export const ISTIO_DRY_RUN = 'istio.io/dry-run'

/** Ours, for PeerAuthentication. Istio does not know it, and would enforce what carries it. */
export const REDOUBT_DRY_RUN = 'redoubt.io/dry-run'

/** What Go's strconv.ParseBool reads. */
const BOOLEANS: Readonly<Record<string, boolean>> = {
  ...Object.fromEntries(['1', 't', 'T', 'TRUE', 'true', 'True'].map((word) => [word, true])),
  ...Object.fromEntries(['0', 'f', 'F', 'FALSE', 'false', 'False'].map((word) => [word, false])),
}

type Annotations = Readonly<Record<string, string>>

/** Whether `annotation` says so. */
export function isDryRun(annotations: Annotations, annotation: string): boolean {
  return BOOLEANS[annotations[annotation] ?? 'false'] ?? false
}

/** Reports a value that is no boolean. */
export function checkDryRunValue(
  annotations: Annotations,
  annotation: string,
  report: Report,
): void {
  const value = annotations[annotation]
  if (value === undefined || Object.hasOwn(BOOLEANS, value)) return
  const path = ['metadata', 'annotations', annotation]
  report(path, `found ${JSON.stringify(value)}, expected "true" or "false"`)
}
