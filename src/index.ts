export { ConfigError, PmpoError } from './errors.js';
