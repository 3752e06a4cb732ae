/** Why a token is refused, with Envoy's words: they are the body of the answer (istio-semantics §3.3, §0.8.26). */
export const TOKEN_REFUSALS = {
  'bad-form': 'Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections',
  'header-not-base64': 'Jwt header is an invalid Base64url encoded',
  'header-not-json': 'Jwt header is an invalid JSON',
  'alg-not-string': 'Jwt header [alg] field is required and must be a string',
  'alg-unsupported': 'Jwt header [alg] is not supported',
  'kid-not-string': 'Jwt header [kid] field is not a string',
  'payload-not-base64': 'Jwt payload is an invalid Base64url encoded',
  'payload-not-json': 'Jwt payload is an invalid JSON',
  'iss-not-string': 'Jwt payload [iss] field is not a string',
  'sub-not-string': 'Jwt payload [sub] field is not a string',
  'jti-not-string': 'Jwt payload [jti] field is not a string',
  'aud-not-string': 'Jwt payload [aud] field is not a string or string list',
  'iat-not-integer': 'Jwt payload [iat] field is not an integer',
  'nbf-not-integer': 'Jwt payload [nbf] field is not an integer',
  'exp-not-integer': 'Jwt payload [exp] field is not an integer',
  'iat-out-of-range': 'Jwt payload [iat] field is not a positive 64 bit integer',
  'nbf-out-of-range': 'Jwt payload [nbf] field is not a positive 64 bit integer',
  'exp-out-of-range': 'Jwt payload [exp] field is not a positive 64 bit integer',
  'signature-not-base64': 'Jwt signature is an invalid Base64url encoded',
  'issuer-unknown': 'Jwt issuer is not configured',
  'not-yet-valid': 'Jwt not yet valid',
  expired: 'Jwt is expired',
  'audience-refused': 'Audiences in Jwt are not allowed',
  'no-key': "Jwks doesn't have key to match kid or alg from Jwt",
  'signature-wrong': 'Jwt verification fails',
  'no-keys': "Jwks doesn't have any valid public key",
  'keys-missing': 'Jwks remote fetch is failed',
} as const

/** Stable names; log and count these, never the words. */
export type TokenRefusal = keyof typeof TOKEN_REFUSALS

/** 403 for a token that is meant for somebody else, 401 for all others. */
export function statusOfRefusal(reason: TokenRefusal): 401 | 403 {
  return reason === 'audience-refused' ? 403 : 401
}
