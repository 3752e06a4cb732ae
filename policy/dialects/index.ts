export type { ManifestFile, Manifests } from './read-manifests.ts'
export { createManifestReader, readManifests } from './read-manifests.ts'
export type { Assertion, AssertionsReading } from './redoubt/assertions.ts'
export { readAssertions } from './redoubt/assertions.ts'
