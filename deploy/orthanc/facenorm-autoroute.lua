-- Sends photographs to the modality "facenorm" as soon as Orthanc has stored them.
--
-- Every photograph that is sent gets a result, if only "no face found": narrow the condition down where your
-- archive also holds photographs of other parts of the body, for example by tags['BodyPartExamined'].

local MODALITY = 'facenorm'

local PHOTOGRAPHS = {
   ['1.2.840.10008.5.1.4.1.1.77.1.4'] = true, -- VL Photographic Image Storage
   -- Some gateways make photographs Secondary Captures; scans and screenshots are, too.
   -- ['1.2.840.10008.5.1.4.1.1.7'] = true,
}

function OnStoredInstance(instanceId, tags, metadata, origin)
   -- What facenorm itself sent back it would ignore; there is no need to send it.
   if PHOTOGRAPHS[tags['SOPClassUID']] and tags['Manufacturer'] ~= 'facenorm' then
      SendToModality(instanceId, MODALITY)
   end
end
