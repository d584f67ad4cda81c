UPDATE kwild_voting.resolutions SET expiration = expiration-7;
