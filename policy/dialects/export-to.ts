import { z } from 'zod'

import type { ExportTo } from '../model/intent.ts'
import { isDnsLabel } from './grammar.ts'
import type { PathKey } from './pointer.ts'
import type { Report } from './schema.ts'

export const exportToSchema: z.ZodOptional<z.ZodArray<z.ZodString>> = z.array(z.string()).optional()

/** Checks `exportTo` of an object in `namespace` (§0.5). `path` is where it stands. */
export function checkExportTo(
  written: readonly string[] | undefined,
  { namespace, none }: { readonly namespace: string; readonly none: boolean },
  path: readonly PathKey[],
  report: Report,
): void {
  if (!written) return
  const seen = new Set<string>()
  written.forEach((value, index) => {
    const meant = value === '.' ? namespace : value
    if (seen.has(meant)) report([...path, index], `${JSON.stringify(value)} is there twice`)
    seen.add(meant)
    if (value === '~' && !none) report([...path, index], '"~" is for ServiceEntry and Service only')
    if (!['*', '.', '~'].includes(value) && !isDnsLabel(value)) {
      report([...path, index], `found ${JSON.stringify(value)}, expected "*", "." or a namespace`)
    }
  })
  for (const alone of ['*', '~']) {
    if (written.includes(alone) && written.length > 1) {
      report(path, `${JSON.stringify(alone)} cannot stand beside other entries`)
    }
  }
}

/** `exportTo` with `.` resolved; left out or empty is everywhere, `~` is nobody. */
export function readExportTo(written: readonly string[] | undefined, namespace: string): ExportTo {
  if (!written || written.length === 0) return ['*']
  if (written.includes('~')) return []
  return written.map((value) => (value === '.' ? namespace : value))
}
