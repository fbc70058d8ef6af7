"""Stored values of one password, written by the programs that write them."""

PASSWORD = b"penguin-pass"

# Written by 389 Directory Server 2.3.1, one for each passwordStorageScheme.
DIRECTORY_SERVER = (
    b"penguin-pass",
    b"{crypt}f7qRK5LRLj6h2",
    b"{crypt}$1$0M$dVr65O8JQ7pYflhCgd37C/",
    b"{crypt}$5$zU$lUBuN3jGnx8/GFuNerAAlSGwVY1zl5NBGcoqd2dRVw0",
    b"{crypt}$6$xS$tWmiJMJC5I90a4FWl/llcCvvC48ATeooJhPJJ9PdUfyqO2Jlkv6ID/Z6XRFNCnDSCOJSMzz3AfMl/NYpdBuVR1",
    b"{MD5}HApwAQzNzgz/e2vmbC86sA==",
    b"{SMD5}/zRf/efKCiilv3vzeu0VqlOg+eg=",
    b"{SHA}cZaGtaxtvtGfwQQqtY80xBpEa3U=",
    b"{SSHA}PT6g4Wt/sVaAC/6oBAzrsgVkA9U2OEKO49MkeA==",
    b"{SHA256}2hOw/RPoPj/yzFzQQLaBcVimpkxAhGnPUnG1V6MVmGY=",
    b"{SSHA256}CbDG8EvMUWP3RbtnxUhp7xouaYuKzThSo3U66H/CIZE6j4OnRQ2q/g==",
    (b"{SSHA512}dqObGZHdQhOLEJnh44k7go3kRZSrWjnspj4S7Wb7qV3dmvLfeuEH6Ex2MMTtcGkSZkCgHlWMg9C37IWD4WNN3rQy518rrya/"),
    b"{PBKDF2-SHA1}10000$auhJSEJgB++wd6xFbGaMBAlxENQorx52$HJfTmGp/HCB8O6Y6FQTcBAFbNAw=",
    b"{PBKDF2-SHA256}10000$UB8VRVY8Gtik4hZCmDcMCfdBhp0tCaCr$ih5UK+9LzhvTzbzNmN1hEJ3COG9n4msdIA1YGTFbjSU=",
    (
        b"{PBKDF2-SHA512}10000$dbsc4waxm+qiOplqtva79fF3XH8BlVaK$vs0hNtiR1sgCviYVO+Xk4a2GmWC5olhaAjyOdM3sAWSh+m"
        b"vtRaeYoK2IS4hDF3kFYy+UYlM6gjWK4yf/eZ7wpA=="
    ),
    (
        b"{PBKDF2_SHA256}AAALuEKGK1jHkRTXtvCfNtZQCukBmMtkKCyaKZMvSU20znPrSAaHGqkK1L4OSkzUzZQ1gHmcbHbDTBvSAuDnz"
        b"qmNMt9Ko3h/RoIfJ0gAW6IIDTXIIHc+P01qfbTYX82Wl9CRFVyQrswF3qWO8wP73DUAsnHpij3/pYtU6TtpK0Mgt5QjCcZZmdn4k"
        b"OUAm9t5C0HvHzjDYTzxqcEVsWziKlonTEyUS7lxVtsbqJLxSZqab5r24y7EtVCFFQ2UsRWZ2jjGQpdV6pufd3c7sD4ZpxG6UlN2t"
        b"duAJs+9Z8h5w2ONAoJVm60xzhHwLCYysmJjm6O8599K97O5dipspJyedb0sFYBwaTvgHl3nsSoGffpuf8F2ovlNzsblnf4d8zCiF"
        b"6/fJxnGHcHzEtUjjmIRWeoixLvtU4Rh6es2Wu9aoGsVs0Ns"
    ),
    b"{GOST_YESCRYPT}$gy$j9T$2m.N5Xt0GKyOPohBoQchY1$SIJEWOqePEFCllswqmlfZRCipHoOsahjDIaLUvpcbU2",
)

# Written by slappasswd 2.5.13 with the modules pw-sha2, pw-pbkdf2 and argon2.
OPENLDAP = (
    b"{PBKDF2}10000$QmUhE/llDw7ewURxq2Gudg$5.32NXWIjy6upo0rj.NYn01.Lxs",
    b"{PBKDF2-SHA1}10000$kfKphGUM.rAaJ/ogitlhHQ$gL0OFaG6PrMRfQ0py695Q/uIIQE",
    b"{PBKDF2-SHA1}10000$Jr6.KkeTdDxLwR.46aWp9A$Vd3akzMKGYAr4iLCTAVOFqET8XM",
    b"{PBKDF2-SHA256}10000$eH5fQGZt4Z4MBEUUJ50PtA$l.oVRGrsIB/PtXXcGbFCtRaZuYJWlFqaPytUys8qJlM",
    (
        b"{PBKDF2-SHA512}10000$h2DkO.1KP9ASqzsSskKOBQ$r5nArrvUPEctY565jWk56aqjEsBLHy9roX/h/mTZYtn1q6BBLwfjOSfG"
        b"hlwU5e0zq2934IeZOWBBATMLBcYn8A"
    ),
    b"{SSHA256}TxsRNtRV2X3zqlZBGZP4Rc4t19N+OOK3MuDbtKnWmlF3QHDQ8JZYog==",
    b"{SSHA384}dSAggjE+a4hsWALZ+eDqBvqpC+q/72FXOu4cFueKztLle4dlimh5NC7Af90M4FQfihV32wxRFw4=",
    (b"{SSHA512}nbswbhnlhjzrJRKqmZ4UOqEBkNXNaeL6l9NEkee2MPRdYvXTih8AogdfM8nxaomn8+t1qTEpf9uv5jMVcZIZ9pAMbTpGi2iT"),
    b"{SHA384}vNxy144eX9FVat/7FhQZfH+q3z5c2BfnIjUJgZahHGB2JJLUGcSEGW5cYTz1G/Qo",
    b"{SHA512}q7jjr2OKQkJXqfrJQ3vyfhG8J1zoUe0LkGCeKwtAY8wKOFdsE/XsOG5dqsnqzM6r/vaNKljcZif7GpLVxHRSjA==",
    (b"{ARGON2}$argon2i$v=19$m=4096,t=3,p=1$10vX6jdXR8KgztSyhYVA3w$LKM8LXmMjfcEMpqBc9DN1FfbNKVXsF5IdcYKb97uJVg"),
    (b"{ARGON2}$argon2i$v=19$m=1024,t=2,p=1$8uJB1IXlTBEmFPBCotC7cA$ILJrivY+OttQ7+v0eFf15IuLXVyyHlYZT6ufngrjZpM"),
    b"{CRYPT}KJQ5jig2uqVJkMh6LZyXRzfw",
    b"{SSHA}1/WIOB5mFfw5PB6bJwTGIIiW38mlUhY7",
    b"{SMD5}v/T+nLHiC3k5LVWL6UMTu3OcSCk=",
)

# Written by doveadm pw 2.3.19 and openssl passwd 3.0.
OTHERS = (
    (b"{ARGON2}$argon2id$v=19$m=65536,t=3,p=1$1LRKOj0+0Fvi8FWpW+m8Bw$WZ9RDP43z/LvQoMzzj9LLaCW5WrK3kd58EUl3aPPt9s"),
    b"{SSHA256}CIPPFwGnNYOYLXPq0WlKe0utxymVjcjx/WzQP2LZMB50aKdN",
    b"{SMD5}bTsXT7GTfyb8Cmmf7hewSG9qLJo=",
    b"{CRYPT}$2y$05$/WDKHOgjrYy5EVdv9DZG1uj2P3O7zCkriroeCftYCyETX1EnJOSaq",
    b"{CRYPT}$1$saltsalt$W/IGZA32mjruegpNTyGHP1",
    b"{CRYPT}$5$saltsalt$92DTE.OZE5OAOiJwCp9rIftigJTbe6YAVgqOMmqxL0.",
    (b"{CRYPT}$6$saltsalt$HtcvwLQfp6FjGfECJYJVCzPflWXU7C5J1XjOM6VgjOE4Evmcdng5Imn.ztZUhSiX5JwfufFiTsWmleOol2Jdh1"),
)

# Written by libxcrypt 4.4.33: what the others do not write.
LIBXCRYPT = (
    b"{CRYPT}_J9..wtZYEd6KB6mOqro",
    b"{CRYPT}$5$rounds=50000$saltsalt$M2f2sQeypQ6XG04BTQl6QBEzT0Gi71DwMVdweXtUh59",
    (
        b"{CRYPT}$6$rounds=50000$saltsalt$VzoC3d93txvOnu0YQtldRZ7DvWFcf1JTrMPe7fq2NfmJSSSl3BzynOUp.2nAa8jaQrlr"
        b"nerfTBQ251lWD7thZ0"
    ),
    b"{CRYPT}$2b$04$sSS6G7Q46p59kT1usOlgfebjzfwhb0jGHkpzMKGRudxF5LK0Gv.Nm",
    b"{CRYPT}$2x$05$sSS6G7Q46p59kT1usOlgfePbgQwIjTDQxylnSlZXsFJnD/4Qum.Xa",
    b"{CRYPT}$y$j75$SQ2bY7Tyx4oaZ/gF0blEO.$w55H7lilvFmBhkIzdyx0QJa0gLQF5wIRp7wjFgPbqJB",
    b"{CRYPT}$y$j9T$SQ2bY7Tyx4oaZ/gF0blEO.$lrNqSSXDUiVb2b1Ek8YDqr4PXMrDvJwlapOmc6HuVeB",
    b"{CRYPT}$gy$j9T$SQ2bY7Tyx4oaZ/gF0blEO.$JESLWeUlkrUj7wyLrrgUo0mALuCTuCYRn3eMEh0hPB0",
    b"{CRYPT}$7$6U..../....57Wrd7KvIw2IxIqoIPUZc1$uKl7.XyzGpGRHkrnLdhk0OsoM0JZB1VHCmqlHUHXB58",
    b"{CRYPT}$md5,rounds=35152$fwy.EP0j$$CPf5gCm4bxRpmhrfT5Q4D1",
    b"{CRYPT}$md5$fwy.EP0j$$.Sg.PdQoURvHqY9r5DPdy0",
    b"{CRYPT}$3$$ded2bd82b9c4891a8fccb56a1e0e68b3",
    b"{CRYPT}$sha1$4000$qVjYKNIbWA364W9cNjlE$f.0/6.7hidZmrnRJrjWWNmwW2MNN",
    b"{CRYPT}$2a$05$sSS6G7Q46p59kT1usOlgfePbgQwIjTDQxylnSlZXsFJnD/4Qum.Xa",
)

HASHES = (*DIRECTORY_SERVER[1:], *OPENLDAP, *OTHERS, *LIBXCRYPT)
