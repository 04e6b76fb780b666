import { logVerbosity, setLogVerbosity } from '@grpc/grpc-js';

// Errors already report what goes wrong; gRPC's own log would repeat it, without the address.
setLogVerbosity(logVerbosity.NONE);
