/**
 * Keeps what V8 has compiled, and what is left of TypeScript without its types, for the next test file: each is a
 * process of its own, and most load the same modules. `ava` loads this before all else.
 */
import { enableCompileCache } from 'node:module'
import { join } from 'node:path'

enableCompileCache(join(import.meta.dirname, '../../node_modules/.cache/redoubt'))
