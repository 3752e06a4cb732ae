import type { DocumentReport, Intent } from '../model/intent.ts'

export interface ManifestFile {
  /** For reports; relative or absolute, as the user gave it. */
  readonly path: string
  readonly text: string
}

export interface Manifests {
  /** Of the valid documents. */
  readonly intent: Intent
  /** One for each document, in order of files and positions. */
  readonly documents: readonly DocumentReport[]
}

export function readManifests(_files: readonly ManifestFile[]): Manifests {
  throw new Error('not yet')
}
