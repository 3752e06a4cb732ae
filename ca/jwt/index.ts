export type { JwtKey } from './jwt-svid-keys.ts'
export { jwtKeysText, readJwtKeys } from './jwt-svid-keys.ts'
export type { JwtBundle, JwtRefusal, JwtSvid, JwtVerdict } from './jwt-svid.ts'
export { MAX_JWT_LENGTH, verifyJwtSvid } from './jwt-svid.ts'
